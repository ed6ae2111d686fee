#include "trainer/data/row_filter.h"

#include <charconv>
#include <cmath>

namespace rondo {

bool read_number(std::string_view text, double& out) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() && std::isfinite(out);
}

bool holds(const RowFilter& filter, std::string_view field) {
  switch (filter.comparison) {
    case Comparison::kNotEmpty:
      return !field.empty();
    case Comparison::kEqual:
      return field == filter.value;
    case Comparison::kNotEqual:
      return field != filter.value;
    case Comparison::kPrefix:
      return field.starts_with(filter.value);
    case Comparison::kNotPrefix:
      return !field.starts_with(filter.value);
    default:
      break;
  }
  double left = 0, right = 0;
  if (!read_number(field, left) || !read_number(filter.value, right)) return false;
  switch (filter.comparison) {
    case Comparison::kLess:
      return left < right;
    case Comparison::kLessOrEqual:
      return left <= right;
    case Comparison::kGreater:
      return left > right;
    default:
      return left >= right;
  }
}

}  // namespace rondo
