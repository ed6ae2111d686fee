#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/data/key_dictionary.h"

namespace rondo {

/// What a source says of one item.
struct ItemRow {
  std::string_view title;
  std::string_view text;                                // joined text columns
  std::vector<std::vector<std::string_view>> features;  // per feature of the schema, its values
};

/// Items as they turn up in a catalogue file or in the events, made into a Catalog at the end.
class ItemCollector {
 public:
  ItemCollector(const KeyRule& rule, std::vector<std::string> feature_names)
      : items_("item", rule), feature_names_(std::move(feature_names)) {}

  /// Place of an item, new or known; nothing when `raw` is no key.
  std::optional<int32_t> intern(std::string_view raw);

  /// Says something of the item at `place`. The most frequent title wins (ties: the first); the first text and the
  /// first values of a feature stay.
  void describe(int32_t place, const ItemRow& row);

  const KeyDictionary& items() const { return items_; }

  /// Texts fall back to the title.
  Catalog build() const;

 private:
  struct Item {
    std::vector<std::pair<std::string, int64_t>> titles;  // with how often each was seen
    std::string text;
    std::vector<std::vector<uint64_t>> features;
  };

  KeyDictionary items_;
  std::vector<std::string> feature_names_;
  std::vector<Item> described_;
};

}  // namespace rondo
