#include "trainer/data/item_columns.h"

#include <algorithm>

namespace rondo {

ItemColumns::ItemColumns(const CatalogColumns& columns, ColumnSet& set) : title_(set.add(columns.title)) {
  for (const auto& text : columns.texts) texts_.push_back(static_cast<size_t>(set.add(text)));
  for (const auto& feature : columns.features) {
    features_.emplace_back(static_cast<size_t>(set.add(feature.column.column)), feature.column.separator);
  }
}

std::string_view ItemColumns::joined_texts(const SourceRecord& record) {
  joined_.clear();
  for (const size_t text : texts_) {
    if (record.fields[text].empty()) continue;
    if (!joined_.empty()) joined_ += ' ';
    joined_ += record.fields[text];
  }
  std::replace(joined_.begin(), joined_.end(), kElementSeparator, ' ');
  return joined_;
}

void ItemColumns::describe(const SourceRecord& record, int32_t place, ItemCollector& items) {
  if (title_ >= 0) items.add_title(place, record.fields[static_cast<size_t>(title_)]);
  if (!texts_.empty() && items.lacks_text(place)) items.set_text(place, joined_texts(record));
  for (size_t feature = 0; feature < features_.size(); ++feature) {
    if (!items.lacks_feature(place, feature)) continue;
    elements_.clear();
    append_elements(record.fields[features_[feature].first], features_[feature].second, elements_);
    items.set_feature(place, feature, elements_);
  }
}

}  // namespace rondo
