#include "sharding/plan/key_placement.h"

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {

KeyPlacement::KeyPlacement(const TableSpec& spec, int world)
    : name_(spec.name), buckets_(spec.buckets), world_(world), only_owner_(world == 1 ? 0 : kAnyRank) {
  RONDO_CHECK_GE(world, 1);
  if (world > 1 && spec.placement == Placement::kTableWise) {
    RONDO_CHECK(spec.owner >= 0 && spec.owner < world, "owner ", spec.owner, " of table ", spec.name);
    only_owner_ = spec.owner;
  }
  if (spec.key_space == KeySpace::kDense) layout_.emplace(spec.rows, spec.buckets);
}

int64_t KeyPlacement::first_outside(std::span<const uint64_t> keys) const {
  if (!layout_ || keys.empty()) return -1;
  const auto largest = std::max_element(keys.begin(), keys.end());
  return *largest < static_cast<uint64_t>(layout_->rows()) ? -1 : largest - keys.begin();
}

void KeyPlacement::check_keys(std::span<const uint64_t> keys) const {
  const int64_t position = first_outside(keys);
  if (position < 0) return;
  throw DataError(concat("table \"", name_, "\": key ", static_cast<int64_t>(keys[static_cast<size_t>(position)]),
                         " at position ", position, " is outside [0, ", layout_->rows(),
                         "), the rows of the table; enlarge `rows` or correct the data"));
}

}  // namespace rondo
