#include "trainer/data/item_collector.h"

#include <algorithm>
#include <limits>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr size_t kTitlesKept = 32;

/// More often than any log names a title.
constexpr int64_t kForGood = std::numeric_limits<int64_t>::max() / 2;

}  // namespace

ItemCollector::ItemCollector(const KeyRule& rule, const std::vector<std::string>& feature_names)
    : items_("item", rule), feature_names_(feature_names) {
  for (const auto& name : feature_names) {
    values_.emplace_back("value of " + name, KeyRule{KeyKind::kText, rule.salt, rule.hash});
  }
}

void ItemCollector::restore(const Catalog& catalog) {
  RONDO_CHECK_EQ(catalog.bags.size(), feature_names_.size(), "features of the catalogue");
  for (size_t feature = 0; feature < values_.size(); ++feature) {
    values_[feature].restore(catalog.bags[feature].value_keys, catalog.bags[feature].values);
  }
  for (int64_t i = 0; i < catalog.items(); ++i) {
    const int32_t place = intern(catalog.keys[static_cast<size_t>(i)], catalog.raw_keys.at(i));
    Item& known = item(place);
    if (!catalog.titles.at(i).empty()) known.titles.push_back({std::string(catalog.titles.at(i)), kForGood});
    known.text = catalog.texts.at(i);
    for (size_t feature = 0; feature < values_.size(); ++feature) {
      const BagColumn& bag = catalog.bags[feature];
      known.features[feature].assign(bag.keys.begin() + bag.offsets[static_cast<size_t>(i)],
                                     bag.keys.begin() + bag.offsets[static_cast<size_t>(i) + 1]);
    }
  }
}

int32_t ItemCollector::intern(uint64_t key, std::string_view raw) {
  const int32_t place = items_.intern(key, raw);
  if (static_cast<size_t>(place) == described_.size()) described_.emplace_back().features.resize(values_.size());
  return place;
}

void ItemCollector::add_title(int32_t place, std::string_view title) {
  if (title.empty()) return;
  auto& titles = item(place).titles;
  const auto known = std::find_if(titles.begin(), titles.end(), [&](const Title& t) { return t.text == title; });
  if (known != titles.end()) {
    ++known->count;
  } else if (titles.size() < kTitlesKept) {
    titles.push_back({std::string(title), 1});
  }
}

void ItemCollector::set_text(int32_t place, std::string_view text) { item(place).text = text; }

void ItemCollector::set_feature(int32_t place, size_t feature, std::span<const std::string_view> values) {
  auto& keys = item(place).features[feature];
  for (const std::string_view value : values) {
    if (value.empty()) continue;
    const uint64_t key = values_[feature].key_of(value).key;
    values_[feature].intern(key, value);
    keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
}

std::string_view ItemCollector::best_title(const Item& item) {
  const auto best = std::max_element(item.titles.begin(), item.titles.end(),
                                     [](const Title& a, const Title& b) { return a.count < b.count; });
  return best == item.titles.end() ? std::string_view() : std::string_view(best->text);
}

Catalog ItemCollector::build() const {
  Catalog catalog;
  catalog.keys = items_.keys();
  catalog.raw_keys = items_.raw();
  for (size_t feature = 0; feature < values_.size(); ++feature) {
    catalog.bags.push_back({feature_names_[feature], {0}, {}, values_[feature].keys(), values_[feature].raw()});
  }
  for (const Item& item : described_) {
    const std::string_view title = best_title(item);
    append_text(title, catalog.titles);
    append_text(item.text.empty() ? title : std::string_view(item.text), catalog.texts);
    for (size_t feature = 0; feature < values_.size(); ++feature) {
      BagColumn& bag = catalog.bags[feature];
      bag.keys.insert(bag.keys.end(), item.features[feature].begin(), item.features[feature].end());
      bag.offsets.push_back(static_cast<int64_t>(bag.keys.size()));
    }
  }
  catalog.build_index();
  return catalog;
}

}  // namespace rondo
