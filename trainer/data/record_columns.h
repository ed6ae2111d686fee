#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/record_reader.h"
#include "trainer/data/schema.h"

namespace rondo {

/// Columns asked of a file, each once.
class ColumnSet {
 public:
  /// Index of the column among those asked for; -1 for an empty name.
  int add(const std::string& column);
  const std::vector<std::string>& columns() const { return columns_; }

 private:
  std::vector<std::string> columns_;
};

/// Adds the elements of a list field that are not empty to `out`: of an array (kElementSeparator), or separated by
/// `separator`. With neither, the field is its own and only element.
void append_elements(std::string_view field, std::string_view separator, std::vector<std::string_view>& out);

/// Row filters, with their columns found.
class RecordFilter {
 public:
  RecordFilter(const std::vector<RowFilter>& filters, ColumnSet& set);
  bool holds_for(const SourceRecord& record) const;

 private:
  std::vector<RowFilter> filters_;
  std::vector<size_t> columns_;
};

}  // namespace rondo
