#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/data/key_dictionary.h"

namespace rondo {

/// Items as they turn up in a catalogue file or in the events, made into a Catalog at the end. Memory grows with the
/// items, not with how often they are described.
class ItemCollector {
 public:
  ItemCollector(const KeyRule& rule, const std::vector<std::string>& feature_names);

  /// Takes over the items of a dataset, whose places stay. What is known of them stays, too.
  void restore(const Catalog& catalog);

  KeyDictionary::Key key_of(std::string_view raw) const { return items_.key_of(raw); }

  /// Place of an item, new or known.
  int32_t intern(uint64_t key, std::string_view raw);

  /// The most frequent title wins (ties: the first) of the first 32 different ones.
  void add_title(int32_t place, std::string_view title);

  /// The first text that is not empty stays, and the first values of a feature.
  bool lacks_text(int32_t place) const { return item(place).text.empty(); }
  void set_text(int32_t place, std::string_view text);
  bool lacks_feature(int32_t place, size_t feature) const { return item(place).features[feature].empty(); }
  void set_feature(int32_t place, size_t feature, std::span<const std::string_view> values);

  int64_t size() const { return items_.size(); }
  const std::vector<uint64_t>& keys() const { return items_.keys(); }

  /// Texts fall back to the title.
  Catalog build() const;

 private:
  struct Title {
    std::string text;
    int64_t count;
  };

  struct Item {
    std::vector<Title> titles;
    std::string text;
    std::vector<std::vector<uint64_t>> features;
  };

  Item& item(int32_t place) { return described_[static_cast<size_t>(place)]; }
  const Item& item(int32_t place) const { return described_[static_cast<size_t>(place)]; }
  static std::string_view best_title(const Item& item);

  KeyDictionary items_;
  std::vector<std::string> feature_names_;
  std::vector<KeyDictionary> values_;  // of each feature
  std::vector<Item> described_;
};

}  // namespace rondo
