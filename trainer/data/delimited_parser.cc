#include "trainer/data/delimited_parser.h"

#include <algorithm>
#include <cstring>

namespace rondo {
namespace {

constexpr size_t kNone = std::string_view::npos;

/// std::string_view::find without its loop: the library's vectorised scan.
size_t find(std::string_view text, char wanted, size_t from = 0) {
  if (from >= text.size()) return kNone;
  const void* found = std::memchr(text.data() + from, wanted, text.size() - from);
  return found == nullptr ? kNone : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

std::string_view without_return(std::string_view line) {
  return line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
}

}  // namespace

DelimitedParser::Result DelimitedParser::parse(std::string_view text, bool is_last,
                                               std::vector<std::string_view>& fields) {
  fields.clear();
  const size_t line_break = find(text, '\n');
  if (line_break == kNone && !is_last) return {Status::kNeedsMore};
  const std::string_view line = text.substr(0, line_break);
  if (quoted_ && find(line, '"') != kNone) return parse_quoted(text, is_last, fields);
  split_line(without_return(line), fields);
  return {Status::kRecord, line_break == kNone ? text.size() : line_break + 1};
}

void DelimitedParser::split_line(std::string_view line, std::vector<std::string_view>& fields) const {
  size_t begin = 0;
  for (size_t at = find(line, delimiter_); at != kNone; at = find(line, delimiter_, begin)) {
    fields.push_back(line.substr(begin, at - begin));
    begin = at + 1;
  }
  fields.push_back(line.substr(begin));
}

DelimitedParser::Result DelimitedParser::parse_quoted(std::string_view text, bool is_last,
                                                      std::vector<std::string_view>& fields) {
  unpacked_.clear();
  unpacked_fields_.clear();
  const auto end_of_line = [&](size_t from) {
    const size_t line_break = find(text, '\n', from);
    return line_break == kNone ? text.size() : line_break + 1;
  };
  size_t at = 0;
  size_t line_end = end_of_line(0);  // of the line that holds `at`
  while (true) {
    if (at < text.size() && text[at] == '"') {
      bool has_doubled = false;
      const size_t close = closing_quote(text, at + 1, has_doubled);
      if (close == kNone && !is_last) return {Status::kNeedsMore};
      if (close == kNone) return {Status::kUnclosedQuote, end_of_line(0)};
      if (close + 1 == text.size() && !is_last) return {Status::kNeedsMore};  // the mark may be one of two
      const std::string_view inside = text.substr(at + 1, close - at - 1);
      if (has_doubled) unpack(inside, fields.size());
      fields.push_back(inside);
      at = close + 1;
      if (at > line_end) line_end = end_of_line(at);
    } else {
      const size_t end = std::min(find(text.substr(0, line_end), delimiter_, at), line_end);
      const bool ends_line = end == line_end && line_end > at && text[line_end - 1] == '\n';
      fields.push_back(ends_line ? without_return(text.substr(at, end - 1 - at)) : text.substr(at, end - at));
      at = ends_line ? end - 1 : end;
    }
    if (at < text.size() && text[at] == delimiter_) {
      ++at;
      continue;
    }
    break;
  }
  for (const Unpacked& field : unpacked_fields_) {
    fields[field.field] = std::string_view(unpacked_).substr(field.begin, field.size);
  }
  const std::string_view behind = text.substr(at);
  if (behind.empty() || behind == "\r") return {is_last ? Status::kRecord : Status::kNeedsMore, text.size()};
  if (behind.starts_with('\n')) return {Status::kRecord, at + 1};
  if (behind.starts_with("\r\n")) return {Status::kRecord, at + 2};
  return {Status::kBrokenQuotes, end_of_line(at)};
}

size_t DelimitedParser::closing_quote(std::string_view text, size_t begin, bool& has_doubled) const {
  for (size_t at = find(text, '"', begin); at != kNone; at = find(text, '"', at + 2)) {
    if (at + 1 >= text.size() || text[at + 1] != '"') return at;
    has_doubled = true;
  }
  return kNone;
}

void DelimitedParser::unpack(std::string_view quoted, size_t field) {
  const size_t begin = unpacked_.size();
  for (size_t at = 0; at < quoted.size(); ++at) {
    unpacked_ += quoted[at];
    if (quoted[at] == '"') ++at;
  }
  unpacked_fields_.push_back({field, begin, unpacked_.size() - begin});
}

}  // namespace rondo
