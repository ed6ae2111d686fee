#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/plan/key_placement.h"

namespace rondo {

/// Tells the distinct keys of a list, by one pass over a flat table that is never cleared. Keeps its memory. One
/// thread.
class DistinctIds {
 public:
  /// The distinct keys in the order of their first occurrence, valid until the next call;
  /// positions[i] <- place of keys[i] among them.
  std::span<const uint64_t> run(std::span<const uint64_t> keys, std::span<int64_t> positions);

 private:
  struct Cell {
    uint64_t key;
    uint32_t generation;  // of the call that wrote the cell; 0: never
    uint32_t place;
  };

  void prepare(size_t keys);

  std::vector<Cell> cells_;
  uint64_t mask_ = 0;  // of the part of the table that this call uses
  uint32_t generation_ = 0;
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
