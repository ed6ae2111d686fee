#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "sharding/embedding/row_launch.h"

// As row_launch.h, for what a device does to whole records of rows: fill fresh ones, tell their counts, move them.
namespace rondo {

/// Counts of rows as they travel: decayed to `step`; -1 for a row that was never updated, or is not there.
template <typename V>
struct RowCounts {
  RowRecords<V> table;
  const int64_t* slots;  // [rows], -1: not there
  int64_t rows;
  int64_t step;
  double count_decay;
  std::byte* out;  // a float at the start of each `out_stride` bytes
  int64_t out_stride;
};

/// What stands in place of the count of a row that was never updated.
inline constexpr float kUntrainedCount = -1.0F;

template <typename V>
RONDO_HOST_DEVICE void tell_counts(const RowCounts<V>& work, int64_t worker, int64_t workers) {
  for (int64_t row = worker; row < work.rows; row += workers) {
    float told = kUntrainedCount;
    if (work.slots[row] >= 0) {
      const std::byte* const record = work.table.record(work.slots[row]);
      const int64_t version = *reinterpret_cast<const int64_t*>(record + work.table.version_offset);
      const float count = *reinterpret_cast<const float*>(record + work.table.count_offset);
      if (version > 0) told = decayed_count(count, work.step - version, work.count_decay);
    }
    // In a message of numbers of 16 bits it may lie at any of them.
    const auto bits = std::bit_cast<uint32_t>(told);
    auto* const out = reinterpret_cast<uint16_t*>(work.out + row * work.out_stride);
    out[0] = static_cast<uint16_t>(bits);
    out[1] = static_cast<uint16_t>(bits >> 16);
  }
}

/// Initial value of one column of a row whose sequence of random numbers is `sequence`.
template <typename V>
RONDO_HOST_DEVICE V initial_value(uint64_t sequence, int64_t column, double scale) {
  const double unit = CounterRandom::to_unit(CounterRandom::bits_at(sequence, static_cast<uint64_t>(column)));
  const auto value = static_cast<ComputeType<V>>(scale * (2.0 * unit - 1.0));
  if constexpr (sizeof(V) == sizeof(uint16_t)) {
    return nearest<V>(value);
  } else {
    return value;
  }
}

/// Fresh rows, as RowStore makes them on the host.
template <typename V>
struct InitialRows {
  RowRecords<V> table;
  const int64_t* slots;  // [rows]
  const uint64_t* keys;  // [rows]
  int64_t rows;
  int64_t dim;
  double scale;
  CounterRandom random;
};

template <typename V>
RONDO_HOST_DEVICE void initialise_rows(const InitialRows<V>& work, LaneGroup group) {
  for (int64_t row = group.index; row < work.rows; row += group.count) {
    std::byte* const record = work.table.record(work.slots[row]);
    const uint64_t sequence = work.random.sequence(work.keys[row]);
    auto* const values = reinterpret_cast<V*>(record);
    for (int64_t c = group.lane; c < work.dim; c += kRowLanes) values[c] = initial_value<V>(sequence, c, work.scale);
    const int64_t begin = work.dim * static_cast<int64_t>(sizeof(V));
    for (int64_t b = begin + group.lane; b < work.table.record_bytes; b += kRowLanes) record[b] = std::byte{0};
  }
}

/// Whole records between a table and a packed list.
struct RecordCopies {
  RowRecords<std::byte> table;
  const int64_t* slots;  // [rows]
  int64_t rows;
  std::byte* packed;  // [rows, record_bytes]
  bool into_table;
};

RONDO_HOST_DEVICE inline void copy_records(const RecordCopies& work, LaneGroup group) {
  const int64_t words = work.table.record_bytes / static_cast<int64_t>(sizeof(uint64_t));
  for (int64_t row = group.index; row < work.rows; row += group.count) {
    auto* const record = reinterpret_cast<uint64_t*>(work.table.record(work.slots[row]));
    auto* const packed = reinterpret_cast<uint64_t*>(work.packed + row * work.table.record_bytes);
    for (int64_t w = group.lane; w < words; w += kRowLanes) {
      work.into_table ? static_cast<void>(record[w] = packed[w]) : static_cast<void>(packed[w] = record[w]);
    }
  }
}

}  // namespace rondo
