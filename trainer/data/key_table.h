#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sharding/base/hash.h"

namespace rondo {

/// Places (0, 1, 2, ...) of distinct row keys: open addressing with linear probing. Reading is for any thread.
class KeyTable {
 public:
  /// Place of `key`, -1 if absent.
  int32_t find(uint64_t key) const {
    if (cells_.empty()) return -1;
    return cells_[cell_of(key)].place;
  }

  /// Place of `key` and whether it is new; a new one is size() before the call.
  std::pair<int32_t, bool> insert(uint64_t key) {
    if (2 * (static_cast<size_t>(size_) + 1) > cells_.size()) grow();
    Cell& cell = cells_[cell_of(key)];
    if (cell.place >= 0) return {cell.place, false};
    cell = {key, size_++};
    return {cell.place, true};
  }

  int32_t size() const { return size_; }

 private:
  struct Cell {
    uint64_t key = 0;
    int32_t place = -1;
  };

  /// The cell that holds `key`, or the empty one where it belongs.
  size_t cell_of(uint64_t key) const {
    const size_t mask = cells_.size() - 1;
    size_t cell = mix64(key) & mask;
    while (cells_[cell].place >= 0 && cells_[cell].key != key) cell = (cell + 1) & mask;
    return cell;
  }

  void grow() {
    std::vector<Cell> old(cells_.empty() ? 16 : 2 * cells_.size());
    old.swap(cells_);
    for (const Cell& cell : old) {
      if (cell.place >= 0) cells_[cell_of(cell.key)] = cell;
    }
  }

  std::vector<Cell> cells_;  // a power of two, at most half full
  int32_t size_ = 0;
};

}  // namespace rondo
