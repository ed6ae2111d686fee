#include "trainer/data/synth_shop.h"

#include <algorithm>
#include <cmath>

#include "sharding/base/check.h"
#include "sharding/base/permutation.h"

namespace rondo {
namespace {

/// What is drawn of an item (key), one element each.
enum ItemDraw : uint64_t { kType, kStyle, kMaterial, kIsLate, kDay };

constexpr int64_t kItemsOfAType = 80;
constexpr int64_t kMaxTypes = 20'000;
constexpr uint64_t kLatePercent = 40;
constexpr uint64_t kNewest = 4;

uint64_t scaled(uint64_t draw, uint64_t bound) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(draw) * bound) >> 64);
}

/// 1 / rank of rank 1, 2, ..., in units of 2^-27, 1 at least. All weights of a shop sum to less than 2^32.
uint32_t power_law(int64_t rank) {
  return std::max(static_cast<uint32_t>(0x1.0p27 / static_cast<double>(rank)), uint32_t{1});
}

/// Sums of rank^-0.25, in units of 2^-16.
std::vector<uint32_t> type_sums(int64_t items) {
  std::vector<uint32_t> sums;
  uint32_t sum = 0;
  for (int64_t type = 0; type < std::clamp<int64_t>(items / kItemsOfAType, 1, kMaxTypes); ++type) {
    sum += static_cast<uint32_t>(0x1.0p16 / std::sqrt(std::sqrt(static_cast<double>(type + 1))));
    sums.push_back(sum);
  }
  return sums;
}

}  // namespace

SynthShelves::SynthShelves(const std::vector<int32_t>& order, const std::vector<int32_t>& group,
                           const std::vector<uint32_t>& weight, const std::vector<uint16_t>& day, int64_t groups)
    : offsets_(static_cast<size_t>(groups) + 1), places_(order.size()) {
  for (const int32_t g : group) ++offsets_[static_cast<size_t>(g) + 1];
  for (size_t g = 1; g < offsets_.size(); ++g) offsets_[g] += offsets_[g - 1];
  std::vector<int64_t> next(offsets_.begin(), offsets_.end() - 1);
  for (const int32_t item : order) {
    const auto i = static_cast<size_t>(item);
    const auto g = static_cast<size_t>(group[i]);
    const auto place = static_cast<size_t>(next[g]++);
    const uint32_t before = static_cast<int64_t>(place) == offsets_[g] ? 0 : places_[place - 1].weight_until;
    places_[place] = {before + weight[i], item, day[i]};
  }
}

int64_t SynthShelves::on_sale(int64_t group, uint16_t today) const {
  const auto begin = places_.begin() + offsets_[static_cast<size_t>(group)];
  const auto end = places_.begin() + offsets_[static_cast<size_t>(group) + 1];
  return std::partition_point(begin, end, [today](const Place& place) { return place.day <= today; }) - begin;
}

int32_t SynthShelves::pick(int64_t group, uint16_t today, uint64_t draw) const {
  const int64_t count = on_sale(group, today);
  if (count == 0) return -1;
  const auto begin = places_.begin() + offsets_[static_cast<size_t>(group)];
  const uint64_t wanted = scaled(draw, begin[count - 1].weight_until);
  return std::partition_point(begin, begin + count,
                              [wanted](const Place& place) { return place.weight_until <= wanted; })
      ->item;
}

int32_t SynthShelves::pick_new(int64_t group, uint16_t today, uint64_t draw) const {
  const int64_t count = on_sale(group, today);
  if (count == 0) return -1;
  const auto back = static_cast<int64_t>(scaled(draw, std::min(kNewest, static_cast<uint64_t>(count))));
  return places_[static_cast<size_t>(offsets_[static_cast<size_t>(group)] + count - 1 - back)].item;
}

SynthShop::SynthShop(uint64_t seed, int64_t items)
    : type_popularity_(type_sums(items)),
      types_(static_cast<size_t>(items)),
      styles_(types_.size()),
      materials_(types_.size()),
      days_(types_.size()),
      weights_(types_.size()) {
  make_items(CounterRandom(seed, 0, RandomPurpose::kSynth));
  const auto order = order_by_day();
  by_type_ = shelves(order, nullptr, 1);
  by_style_ = shelves(order, &styles_, kStyles);
  by_material_ = shelves(order, &materials_, kMaterials);
}

void SynthShop::make_items(const CounterRandom& random) {
  RONDO_CHECK(!types_.empty());
  const Permutation ranks(types_.size(), random.bits(types_.size(), 0));
  for (size_t i = 0; i < types_.size(); ++i) {
    const bool first = static_cast<int64_t>(i) < types();  // so that each type has something from the first day on
    types_[i] = static_cast<int32_t>(first ? i : random.below(static_cast<uint64_t>(types()), i, kType));
    styles_[i] = static_cast<uint8_t>(random.below(kStyles, i, kStyle));
    materials_[i] = static_cast<uint8_t>(random.below(kMaterials, i, kMaterial));
    const bool late = !first && random.below(100, i, kIsLate) < kLatePercent;
    days_[i] = late ? static_cast<uint16_t>(1 + random.below(kDays - 1, i, kDay)) : uint16_t{0};
    weights_[i] = power_law(static_cast<int64_t>(ranks(i)) + 1);
  }
}

int64_t SynthShop::pick_type(uint64_t draw) const {
  const auto wanted = static_cast<uint32_t>(scaled(draw, type_popularity_.back()));
  return std::upper_bound(type_popularity_.begin(), type_popularity_.end(), wanted) - type_popularity_.begin();
}

std::vector<int32_t> SynthShop::order_by_day() const {
  std::vector<size_t> next(kDays + 1);
  for (const uint16_t day : days_) ++next[day + size_t{1}];
  for (size_t day = 1; day < next.size(); ++day) next[day] += next[day - 1];
  std::vector<int32_t> order(days_.size());
  for (size_t i = 0; i < days_.size(); ++i) order[next[days_[i]]++] = static_cast<int32_t>(i);
  return order;
}

SynthShelves SynthShop::shelves(const std::vector<int32_t>& order, const std::vector<uint8_t>* kind,
                                int64_t kinds) const {
  std::vector<int32_t> group(types_);
  if (kind != nullptr) {
    for (size_t i = 0; i < group.size(); ++i) group[i] = group[i] * static_cast<int32_t>(kinds) + (*kind)[i];
  }
  return {order, group, weights_, days_, types() * kinds};
}

}  // namespace rondo
