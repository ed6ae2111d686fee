#include "sharding/exchange/distinct_ids.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

constexpr size_t kAhead = 16;  // keys whose cells are fetched while earlier ones are compared
constexpr size_t kFewestCells = 64;

}  // namespace

void DistinctIds::prepare(size_t keys) {
  RONDO_CHECK_LT(keys, size_t{1} << 31, "ids of one table in one share of a batch");
  const size_t cells = std::max(kFewestCells, std::bit_ceil(keys + keys / 2));  // at most two in three are used
  if (cells > cells_.size()) cells_.resize(cells);
  std::fill_n(cells_.begin(), cells, 0);
  mask_ = cells - 1;
  distinct_.clear();
}

std::span<const uint64_t> DistinctIds::run(std::span<const uint64_t> keys, std::span<int64_t> positions) {
  RONDO_CHECK_EQ(keys.size(), positions.size());
  prepare(keys.size());
  const size_t n = keys.size();
  uint64_t starts[kAhead];  // of the probes of the next keys
  const auto look_ahead = [&](size_t i) {
    const uint64_t start = (mix64(keys[i]) >> 32) & mask_;
    __builtin_prefetch(&cells_[start], 1);
    starts[i % kAhead] = start;
  };
  for (size_t i = 0; i < std::min(n, kAhead); ++i) look_ahead(i);
  for (size_t i = 0; i < n; ++i) {
    uint64_t at = starts[i % kAhead];
    if (i + kAhead < n) look_ahead(i + kAhead);
    while (cells_[at] != 0 && distinct_[cells_[at] - 1] != keys[i]) at = (at + 1) & mask_;
    if (cells_[at] == 0) {
      distinct_.push_back(keys[i]);
      cells_[at] = static_cast<uint32_t>(distinct_.size());
    }
    positions[i] = cells_[at] - 1;
  }
  return distinct_;
}

KeysByOwner group_by_owner(std::span<const uint64_t> keys, const KeyPlacement& placement, int world) {
  KeysByOwner grouped{.keys = std::vector<uint64_t>(keys.begin(), keys.end()),
                      .rows = std::vector<int64_t>(static_cast<size_t>(world)),
                      .place_of = std::vector<int64_t>(keys.size())};
  if (placement.only_owner() >= 0) {
    grouped.rows[static_cast<size_t>(placement.only_owner())] = static_cast<int64_t>(keys.size());
    std::iota(grouped.place_of.begin(), grouped.place_of.end(), int64_t{0});
    return grouped;
  }
  std::vector<int64_t> owners(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    owners[i] = placement.owner(keys[i]);
    ++grouped.rows[static_cast<size_t>(owners[i])];
  }
  std::vector<int64_t> next(grouped.rows.size());
  std::exclusive_scan(grouped.rows.begin(), grouped.rows.end(), next.begin(), int64_t{0});
  for (size_t i = 0; i < keys.size(); ++i) {
    grouped.place_of[i] = next[static_cast<size_t>(owners[i])]++;
    grouped.keys[static_cast<size_t>(grouped.place_of[i])] = keys[i];
  }
  return grouped;
}

}  // namespace rondo
