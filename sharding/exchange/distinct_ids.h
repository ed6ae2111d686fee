#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/plan/key_placement.h"

namespace rondo {

/// Tells the distinct keys of a list, by one pass over a flat table of places that stays in the cache. Keeps its
/// memory. One thread.
class DistinctIds {
 public:
  /// The distinct keys in the order of their first occurrence, valid until the next call;
  /// positions[i] <- place of keys[i] among them.
  std::span<const uint64_t> run(std::span<const uint64_t> keys, std::span<int64_t> positions);

 private:
  void prepare(size_t keys);

  std::vector<uint32_t> cells_;  // 1 + place among the distinct keys; 0: none
  uint64_t mask_ = 0;            // of the part of the table that this call uses
  std::vector<uint64_t> distinct_;
};

/// Keys in the order of their owners; keys of one owner keep their order.
struct KeysByOwner {
  std::vector<uint64_t> keys;     // [distinct]
  std::vector<int64_t> rows;      // [world], keys of each owner
  std::vector<int64_t> place_of;  // [distinct], new place of each key given
};

KeysByOwner group_by_owner(std::span<const uint64_t> keys, const KeyPlacement& placement, int world);

}  // namespace rondo
