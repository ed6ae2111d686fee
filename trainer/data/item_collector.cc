#include "trainer/data/item_collector.h"

#include <algorithm>

#include "sharding/base/hash.h"

namespace rondo {

std::optional<int32_t> ItemCollector::intern(std::string_view raw) {
  const auto place = items_.intern(raw);
  if (place && static_cast<size_t>(*place) >= described_.size()) described_.resize(static_cast<size_t>(*place) + 1);
  return place;
}

void ItemCollector::describe(int32_t place, const ItemRow& row) {
  Item& item = described_[static_cast<size_t>(place)];
  if (!row.title.empty()) {
    const auto known = std::find_if(item.titles.begin(), item.titles.end(),
                                    [&](const auto& entry) { return entry.first == row.title; });
    if (known == item.titles.end()) {
      item.titles.emplace_back(row.title, 1);
    } else {
      ++known->second;
    }
  }
  if (item.text.empty()) item.text = row.text;
  item.features.resize(feature_names_.size());
  for (size_t feature = 0; feature < row.features.size(); ++feature) {
    auto& keys = item.features[feature];
    if (!keys.empty()) continue;
    for (const std::string_view value : row.features[feature]) {
      if (!value.empty()) keys.push_back(hash_bytes(value));
    }
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  }
}

Catalog ItemCollector::build() const {
  Catalog catalog;
  catalog.keys = items_.keys();
  catalog.raw_keys = items_.raw();
  for (const auto& name : feature_names_) catalog.bags.push_back({name, {0}, {}});
  for (const Item& item : described_) {
    const auto best = std::max_element(item.titles.begin(), item.titles.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    const std::string_view title = best == item.titles.end() ? std::string_view() : std::string_view(best->first);
    append_text(title, catalog.titles);
    append_text(item.text.empty() ? title : std::string_view(item.text), catalog.texts);
    for (size_t feature = 0; feature < feature_names_.size(); ++feature) {
      BagColumn& bag = catalog.bags[feature];
      if (feature < item.features.size()) {
        bag.keys.insert(bag.keys.end(), item.features[feature].begin(), item.features[feature].end());
      }
      bag.offsets.push_back(static_cast<int64_t>(bag.keys.size()));
    }
  }
  // In the order that HDF5 lists them, so that a reopened catalogue is the same.
  std::sort(catalog.bags.begin(), catalog.bags.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  catalog.build_index();
  return catalog;
}

}  // namespace rondo
