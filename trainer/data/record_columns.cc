#include "trainer/data/record_columns.h"

#include <algorithm>

#include "trainer/data/row_filter.h"

namespace rondo {

int ColumnSet::add(const std::string& column) {
  if (column.empty()) return -1;
  const auto found = std::find(columns_.begin(), columns_.end(), column);
  if (found != columns_.end()) return static_cast<int>(found - columns_.begin());
  columns_.push_back(column);
  return static_cast<int>(columns_.size()) - 1;
}

void append_elements(std::string_view field, std::string_view separator, std::vector<std::string_view>& out) {
  constexpr std::string_view kOfArrays(&kElementSeparator, 1);
  if (field.find(kElementSeparator) != std::string_view::npos) separator = kOfArrays;
  while (!field.empty()) {
    const size_t end = separator.empty() ? std::string_view::npos : field.find(separator);
    if (end != 0) out.push_back(field.substr(0, end));
    if (end == std::string_view::npos) return;
    field.remove_prefix(end + separator.size());
  }
}

RecordFilter::RecordFilter(const std::vector<RowFilter>& filters, ColumnSet& set) : filters_(filters) {
  for (const RowFilter& filter : filters) columns_.push_back(static_cast<size_t>(set.add(filter.column)));
}

bool RecordFilter::holds_for(const SourceRecord& record) const {
  for (size_t i = 0; i < filters_.size(); ++i) {
    if (!holds(filters_[i], record.fields[columns_[i]])) return false;
  }
  return true;
}

}  // namespace rondo
