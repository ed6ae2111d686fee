#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/plan/table_spec.h"

namespace rondo {

/// A key that has a row.
struct KeySlot {
  uint64_t key;
  int64_t slot;
};

/// What became of a key to insert.
struct InsertedKey {
  int64_t slot;
  bool fresh;  // it had no row before
};

/// Slots of the keys of a hashed table: open addressing with linear probing, in segments that each hold the keys of a
/// few neighbouring buckets. A segment that fills up doubles alone, so growth copies little at a time and never holds
/// the whole index twice.
class KeyIndex {
 public:
  /// Of the keys whose bucket (of `buckets`) is in `range`.
  KeyIndex(BucketRange range, int64_t buckets);

  /// Number of keys.
  int64_t size() const { return size_; }

  /// slots[i] <- slot of keys[i], -1 when absent. Results do not depend on the number of threads.
  /// REQUIRES: every bucket is in the range.
  void find(std::span<const uint64_t> keys, std::span<int64_t> slots) const;

  /// Slot of `key`; a new one is size() before the call.
  InsertedKey insert(uint64_t key);

  /// The keys of the buckets of `wanted`, bucket by bucket, in ascending order within one.
  std::vector<KeySlot> entries_of(BucketRange wanted) const;

  int64_t memory_bytes() const;

 private:
  static constexpr uint32_t kEmpty = 0xffffffff;

  /// 12 bytes, key in two halves.
  struct Cell {
    uint32_t low, high;
    uint32_t slot = kEmpty;
  };

  struct Segment {
    std::vector<Cell> cells;  // power of two, or none yet
    int64_t used = 0;
  };

  struct Address {
    const Segment* segment;
    uint64_t start;  // probe from here
  };

  Address address_of(uint64_t key) const;
  int64_t find_from(const Address& address, uint64_t key) const;
  static void grow(Segment& segment);

  BucketRange range_;
  int64_t buckets_;
  int64_t size_ = 0;
  std::vector<Segment> segments_;
};

}  // namespace rondo
