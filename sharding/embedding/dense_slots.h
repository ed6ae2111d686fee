#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/embedding/key_index.h"
#include "sharding/plan/dense_layout.h"

namespace rondo {

/// Slots of the keys of a dense table: places of DenseLayout counted from the first of the range, and one bit a row
/// that says whether it was made. The same calls as KeyIndex.
class DenseSlots {
 public:
  DenseSlots(BucketRange range, const DenseLayout& layout);

  /// Number of keys that have a row.
  int64_t size() const { return size_; }

  /// Rows that may ever be made.
  int64_t capacity() const { return end_ - first_; }

  /// slots[i] <- slot of keys[i], -1 while it has no row. REQUIRES: every bucket is in the range.
  void find(std::span<const uint64_t> keys, std::span<int64_t> slots) const;

  InsertedKey insert(uint64_t key);

  /// The keys that have rows in the buckets of `wanted`, bucket by bucket, in ascending order within one.
  std::vector<KeySlot> entries_of(BucketRange wanted) const;

  int64_t memory_bytes() const { return static_cast<int64_t>(made_.size() * sizeof(uint64_t)); }

 private:
  int64_t slot_of(uint64_t key) const {
    const int64_t slot = layout_.place(key) - first_;
    RONDO_CHECK(slot >= 0 && slot < capacity(), "place ", slot + first_, " of key ", key);
    return slot;
  }
  bool made(int64_t slot) const { return (made_[static_cast<size_t>(slot >> 6)] >> (slot & 63) & 1) != 0; }

  DenseLayout layout_;
  int64_t first_, end_;  // places
  int64_t size_ = 0;
  std::vector<uint64_t> made_;
};

}  // namespace rondo
