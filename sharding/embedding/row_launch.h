#pragma once

#include <cstddef>
#include <cstdint>

#include "sharding/embedding/row_math.h"

// What one lane of a device kernel does, as functions that the host compiles, too: the index arithmetic and the row
// arithmetic of row_device.cu are tested without a device, against the loops of the processor, bit for bit.
namespace rondo {

/// Lanes that share a row or a bag: as many as the partial sums of row_math.h, so that lane l makes partial sum l.
inline constexpr int kRowLanes = kPartialSums;

/// The group of lanes that a thread belongs to, among those of the whole launch.
struct LaneGroup {
  int64_t index = 0;
  int64_t count = 1;
  int64_t lane = 0;
};

/// REQUIRES: block_threads is a multiple of kRowLanes.
RONDO_HOST_DEVICE inline LaneGroup lane_group(int64_t block, int64_t blocks, int64_t thread, int64_t block_threads) {
  const int64_t worker = block * block_threads + thread;
  return {worker / kRowLanes, blocks * (block_threads / kRowLanes), worker % kRowLanes};
}

/// Records of rows in blocks, as RowBlocks keeps them on the host: byte for byte the same on a device.
template <typename V>
struct RowRecords {
  std::byte* const* blocks;
  int shift;  // log2 of the records of a block
  int64_t record_bytes;
  int64_t state_offset;
  int64_t count_offset;
  int64_t version_offset;

  RONDO_HOST_DEVICE std::byte* record(int64_t slot) const {
    return blocks[slot >> shift] + (slot & ((int64_t{1} << shift) - 1)) * record_bytes;
  }
};

/// Rows of a table into a matrix [rows, dim]; zeros for slot -1.
template <typename V>
struct Lookup {
  RowRecords<V> table;
  const int64_t* slots;  // [rows]
  int64_t rows;
  int64_t dim;
  ComputeType<V>* out;
};

template <typename V>
RONDO_HOST_DEVICE void lookup_rows(const Lookup<V>& work, LaneGroup group) {
  for (int64_t row = group.index; row < work.rows; row += group.count) {
    const int64_t slot = work.slots[row];
    const auto* const values = slot < 0 ? nullptr : reinterpret_cast<const V*>(work.table.record(slot));
    for (int64_t c = group.lane; c < work.dim; c += kRowLanes) {
      work.out[row * work.dim + c] = slot < 0 ? ComputeType<V>{} : widen(values[c]);
    }
  }
}

/// Sums of rows of a matrix: out[s] = sum over i in [starts[s], starts[s + 1]) of weights[i] * rows[positions[i]], in
/// that order. A forward pass sums bags so; the gradient of a row, and what several ranks send for one row, are summed
/// so, too, once the entries are sorted by row: no two threads ever add to one number.
template <typename T>
struct SegmentSums {
  const T* rows;             // [any, dim]
  const int64_t* starts;     // [sums + 1]
  const int64_t* positions;  // [starts[sums]]
  const T* weights;          // [starts[sums]], or null for ones
  int64_t sums;
  int64_t dim;
  T* out;              // [sums, dim]
  int64_t stride = 0;  // numbers from one position to the next; 0: dim
};

/// Columns of one lane that stay in registers while the rows of a segment pass.
inline constexpr int kLaneColumns = 4;

template <typename T>
RONDO_HOST_DEVICE void sum_lane_columns(const SegmentSums<T>& work, int64_t sum, int64_t column) {
  T totals[kLaneColumns] = {};
  const int64_t stride = work.stride > 0 ? work.stride : work.dim;
  for (int64_t i = work.starts[sum]; i < work.starts[sum + 1]; ++i) {
    const T* const row = work.rows + work.positions[i] * stride;
    const T weight = work.weights != nullptr ? work.weights[i] : T{1};
    for (int k = 0; k < kLaneColumns; ++k) {
      const int64_t c = column + int64_t{k} * kRowLanes;
      if (c < work.dim) totals[k] = std::fma(weight, row[c], totals[k]);
    }
  }
  for (int k = 0; k < kLaneColumns; ++k) {
    const int64_t c = column + int64_t{k} * kRowLanes;
    if (c < work.dim) work.out[sum * work.dim + c] = totals[k];
  }
}

template <typename T>
RONDO_HOST_DEVICE void sum_segments(const SegmentSums<T>& work, LaneGroup group) {
  for (int64_t sum = group.index; sum < work.sums; sum += group.count) {
    for (int64_t c = group.lane; c < work.dim; c += int64_t{kLaneColumns} * kRowLanes) sum_lane_columns(work, sum, c);
  }
}

/// Number of values of an ascending list that are below `value` (or equal to it, with `or_equal`).
RONDO_HOST_DEVICE inline int64_t count_below(const int64_t* sorted, int64_t n, int64_t value, bool or_equal) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sorted[middle] < value || (or_equal && sorted[middle] == value)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// starts[t] = number of sorted targets below t: where the segment of target t begins.
struct SegmentStarts {
  const int64_t* sorted_targets;  // [entries], ascending
  int64_t entries;
  int64_t targets;
  int64_t* starts;  // [targets + 1]
};

RONDO_HOST_DEVICE inline void find_starts(const SegmentStarts& work, int64_t worker, int64_t workers) {
  for (int64_t t = worker; t <= work.targets; t += workers) {
    work.starts[t] = count_below(work.sorted_targets, work.entries, t, /*or_equal=*/false);
  }
}

/// Where the gradients of sorted entries come from: the bag of each entry, and its weight.
template <typename T>
struct EntrySources {
  const int64_t* entries;  // [count], each once
  const int64_t* offsets;  // [bags + 1]
  const T* weights;        // [count] by entry, or null
  int64_t count;
  int64_t bags;
  int64_t* bag_of;    // [count] in the order of `entries`
  T* sorted_weights;  // likewise; null without weights
};

template <typename T>
RONDO_HOST_DEVICE void find_sources(const EntrySources<T>& work, int64_t worker, int64_t workers) {
  for (int64_t i = worker; i < work.count; i += workers) {
    const int64_t entry = work.entries[i];
    work.bag_of[i] = count_below(work.offsets, work.bags + 1, entry, /*or_equal=*/true) - 1;
    if (work.weights != nullptr) work.sorted_weights[i] = work.weights[entry];
  }
}

/// One optimizer step on rows of a table, each of which stands there once.
template <typename V>
struct RowUpdates {
  using T = ComputeType<V>;
  RowRecords<V> table;
  RowStep<T> step;
  const int64_t* slots;        // [rows]
  const uint64_t* keys;        // [rows]; null unless values are rounded
  const int64_t* occurrences;  // [rows], in the batches of this step
  const T* gradients;          // [rows, dim]
  int64_t rows;
  int64_t dim;
  int64_t number;  // of the step: the rows' version
  T factor;        // on all gradients
  T clip_norm;     // of a row; 0: never
  double count_decay;
  CounterRandom rounding;

  /// Where it is given: the first of the rows whose gradient has no finite norm, if it comes before what stands there.
  /// Such rows stay as they are.
  int64_t* refused = nullptr;
};

template <typename V>
RONDO_HOST_DEVICE bool is_refused(const RowUpdates<V>& work, ComputeType<V> square) {
  return work.refused != nullptr && !std::isfinite(square);
}

/// Partial sum `lane` of the squares of a row's gradient; join_partial_sums of all lanes is their sum.
template <typename V>
RONDO_HOST_DEVICE ComputeType<V> square_of_lane(const RowUpdates<V>& work, int64_t row, int64_t lane) {
  ComputeType<V> sum{};
  const auto* const gradient = work.gradients + row * work.dim;
  for (int64_t c = lane; c < work.dim; c += kRowLanes) sum = std::fma(gradient[c], gradient[c], sum);
  return sum;
}

template <typename V>
RONDO_HOST_DEVICE LearningRow<V> learning_row(const RowUpdates<V>& work, int64_t row, ComputeType<V> square) {
  using T = ComputeType<V>;
  std::byte* const record = work.table.record(work.slots[row]);
  const T mean = square / static_cast<T>(work.dim);
  LearningRow<V> learning{.values = reinterpret_cast<V*>(record),
                          .state = reinterpret_cast<T*>(record + work.table.state_offset),
                          .gradient = work.gradients + row * work.dim,
                          .scale = work.factor * clipping_factor(static_cast<T>(work.dim) * mean, work.clip_norm),
                          .mean_square = mean,
                          .rounding = 0,
                          .first_column = 0};
  if constexpr (sizeof(V) == sizeof(uint16_t)) learning.rounding = work.rounding.sequence(work.keys[row]);
  return learning;
}

/// By one lane of a row.
template <typename V>
RONDO_HOST_DEVICE void touch_row(const RowUpdates<V>& work, int64_t row) {
  std::byte* const record = work.table.record(work.slots[row]);
  auto& count = *reinterpret_cast<float*>(record + work.table.count_offset);
  auto& version = *reinterpret_cast<int64_t*>(record + work.table.version_offset);
  count = raised_count(decayed_count(count, work.number - version, work.count_decay), work.occurrences[row],
                       work.count_decay);
  version = work.number;
}

}  // namespace rondo
