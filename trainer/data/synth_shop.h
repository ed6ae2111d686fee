#pragma once

#include <cstdint>
#include <vector>

#include "sharding/base/random.h"

namespace rondo {

/// Items in groups, to be drawn by popularity among those that are on sale.
class SynthShelves {
 public:
  SynthShelves() = default;

  /// `order`: items by the day they come; `group` and `weight` by item. 12 bytes an item, 8 a group.
  SynthShelves(const std::vector<int32_t>& order, const std::vector<int32_t>& group,
               const std::vector<uint32_t>& weight, const std::vector<uint16_t>& day, int64_t groups);

  /// An item of the group that came on `today` or before, by weight; -1 if there is none. `draw`: 64 random bits.
  int32_t pick(int64_t group, uint16_t today, uint64_t draw) const;

  /// One of the newest four items of the group, all alike; -1 if there is none.
  int32_t pick_new(int64_t group, uint16_t today, uint64_t draw) const;

 private:
  struct Place {
    uint32_t weight_until;  // sum of the weights of the group up to here
    int32_t item;
    uint16_t day;
  };

  /// How many places of the group are on sale.
  int64_t on_sale(int64_t group, uint16_t today) const;

  std::vector<int64_t> offsets_;  // [groups + 1]
  std::vector<Place> places_;
};

/// The hidden structure of a synthetic shop, a pure function of (seed, items): every item has a type (what it is), a
/// style and a material, a popularity and a day on which it comes. Words (synth_words.h) say type, style and material;
/// events (synth_walk.h) follow a user's taste in them.
///
/// Draws compare whole numbers; the only floating point is sqrt, product and quotient, which IEEE 754 rounds alike
/// everywhere. So every machine makes the same shop.
class SynthShop {
 public:
  static constexpr int64_t kStyles = 12;
  static constexpr int64_t kMaterials = 10;
  static constexpr int64_t kDepartments = 12;  // of a type: type % kDepartments
  static constexpr uint16_t kDays = 365;

  /// REQUIRES: 1 <= items <= 2^31 - 1.
  SynthShop(uint64_t seed, int64_t items);

  int64_t items() const { return static_cast<int64_t>(types_.size()); }
  int64_t types() const { return static_cast<int64_t>(type_popularity_.size()); }
  int64_t type(int64_t item) const { return types_[static_cast<size_t>(item)]; }
  int64_t style(int64_t item) const { return styles_[static_cast<size_t>(item)]; }
  int64_t material(int64_t item) const { return materials_[static_cast<size_t>(item)]; }
  uint16_t first_day(int64_t item) const { return days_[static_cast<size_t>(item)]; }
  uint32_t weight(int64_t item) const { return weights_[static_cast<size_t>(item)]; }

  /// A type by popularity.
  int64_t pick_type(uint64_t draw) const;

  const SynthShelves& by_type() const { return by_type_; }
  /// Group: type * kStyles + style.
  const SynthShelves& by_style() const { return by_style_; }
  /// Group: type * kMaterials + material.
  const SynthShelves& by_material() const { return by_material_; }

 private:
  void make_items(const CounterRandom& random);
  std::vector<int32_t> order_by_day() const;

  /// Shelves by (type, kind of the item), or by type alone where `kind` is null.
  SynthShelves shelves(const std::vector<int32_t>& order, const std::vector<uint8_t>* kind, int64_t kinds) const;

  std::vector<uint32_t> type_popularity_;  // sums
  std::vector<int32_t> types_;
  std::vector<uint8_t> styles_;
  std::vector<uint8_t> materials_;
  std::vector<uint16_t> days_;
  std::vector<uint32_t> weights_;
  SynthShelves by_type_;
  SynthShelves by_style_;
  SynthShelves by_material_;
};

}  // namespace rondo
