#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "sharding/plan/table_spec.h"

namespace rondo {

/// One row in memory: values [dim], state [state_width] (fp32; fp64 of fp64 rows), count, version. One record, so that
/// a row costs one page and neighbouring cache lines.
struct RowLayout {
  /// Of `columns` of the table's columns.
  RowLayout(const TableSpec& spec, int64_t columns);

  int64_t state_width;  // scalars
  int64_t values_bytes;
  int64_t state_offset;
  int64_t count_offset;    // float
  int64_t version_offset;  // int64
  int64_t record_bytes;    // distance of records; a multiple of 8

  int64_t state_bytes() const { return count_offset - state_offset; }
};

/// log2 of the records of a block of at most `block_bytes`, of few where few rows are expected; 0 rows: unknown.
int records_shift(const RowLayout& layout, int64_t expected_rows, int64_t block_bytes);

/// One number of a record.
template <typename T>
T load_as(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
void store_as(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

/// Bytes [first, last) of a record.
struct ByteRange {
  int64_t first, last;
};

/// Starts to bring them to the second cache: the first has too few lines under way for many rows.
inline void fetch_bytes(const std::byte* row, ByteRange bytes) {
  constexpr int64_t kCacheLineBytes = 64;
  for (int64_t at = bytes.first; at < bytes.last; at += kCacheLineBytes) __builtin_prefetch(row + at, 0, 2);
  __builtin_prefetch(row + bytes.last - 1, 0, 2);
}

/// Memory of rows by slot, in blocks of a fixed number of records: growth copies nothing and rows never move.
class RowBlocks {
 public:
  /// `expected_rows` sets the size of a block only.
  RowBlocks(const RowLayout& layout, int64_t expected_rows);

  /// Makes sure that `slot` has memory (not zeroed).
  void allocate(int64_t slot);

  /// REQUIRES: allocate(slot) was called.
  std::byte* row(int64_t slot) const { return blocks_[slot >> shift_].get() + (slot & mask_) * record_bytes_; }

  int64_t memory_bytes() const { return (allocated_ << shift_) * record_bytes_; }

 private:
  struct Free {
    void operator()(std::byte* block) const { std::free(block); }
  };

  int64_t record_bytes_;
  int shift_;  // log2 of the records in a block
  int64_t mask_;
  int64_t allocated_ = 0;  // blocks
  std::vector<std::unique_ptr<std::byte, Free>> blocks_;
};

}  // namespace rondo
