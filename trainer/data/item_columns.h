#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/data/item_collector.h"
#include "trainer/data/record_columns.h"

namespace rondo {

/// What the records of a file say of items: title, texts, features.
class ItemColumns {
 public:
  ItemColumns(const CatalogColumns& columns, ColumnSet& set);

  void describe(const SourceRecord& record, int32_t place, ItemCollector& items);

 private:
  std::string_view joined_texts(const SourceRecord& record);

  int title_;
  std::vector<size_t> texts_;
  std::vector<std::pair<size_t, std::string>> features_;  // column, separator
  std::string joined_;
  std::vector<std::string_view> elements_;
};

}  // namespace rondo
