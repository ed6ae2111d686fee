#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/text/text_tower.h"

namespace rondo {

/// Tokens of every item's text, as a token file holds them: item i is [offsets[i], offsets[i + 1]).
struct ItemTokens {
  std::vector<int32_t> tokens;
  std::vector<int64_t> offsets{0};  // [items + 1], or just {0} when the model reads no text
};

/// What the model reads of an item, by place: its row key, its bags, its tokens. Keeps references.
class ItemFeatures {
 public:
  ItemFeatures(const Catalog& catalog, const ItemTokens& tokens) : catalog_(catalog), tokens_(tokens) {}

  int64_t items() const { return catalog_.items(); }
  int64_t bags() const { return static_cast<int64_t>(catalog_.bags.size()); }
  const BagColumn& bag(int64_t index) const { return catalog_.bags[static_cast<size_t>(index)]; }
  uint64_t key(int32_t place) const { return catalog_.keys[static_cast<size_t>(place)]; }

  std::span<const uint64_t> bag_keys(int64_t bag, int32_t place) const {
    const BagColumn& column = catalog_.bags[static_cast<size_t>(bag)];
    const auto begin = column.offsets[static_cast<size_t>(place)], end = column.offsets[static_cast<size_t>(place) + 1];
    return {column.keys.data() + begin, static_cast<size_t>(end - begin)};
  }

  /// Empty when the item has no text or the model reads none. [CLS] and [SEP] alone are no text.
  std::span<const int32_t> text(int32_t place) const {
    if (tokens_.offsets.size() <= 1) return {};
    const auto begin = tokens_.offsets[static_cast<size_t>(place)],
               end = tokens_.offsets[static_cast<size_t>(place) + 1];
    return {tokens_.tokens.data() + begin, static_cast<size_t>(end - begin > 2 ? end - begin : 0)};
  }

 private:
  const Catalog& catalog_;
  const ItemTokens& tokens_;
};

}  // namespace rondo
