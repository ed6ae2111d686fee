#include "trainer/data/delimited_reader.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/data/utf8.h"

namespace rondo {
namespace {

using Status = DelimitedParser::Status;

constexpr size_t kShownBytes = 256;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

[[noreturn]] void bad_header(const std::filesystem::path& path, const std::string& what) {
  throw DataError(concat(path.string(), ":1: ", what));
}

/// A number, or nothing for a name.
std::optional<size_t> position_of(const std::string& column) {
  size_t position = 0;
  const char* end = column.data() + column.size();
  const auto result = std::from_chars(column.data(), end, position);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return position;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string_view without_line_break(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

}  // namespace

DelimitedReader::DelimitedReader(const std::filesystem::path& path, const FileOptions& options,
                                 const std::vector<std::string>& columns, const SourceLimits& limits)
    : path_(path),
      options_(options),
      buffer_(path, limits),
      parser_(options.delimiter, options.quoted),
      latin1_(columns.size()) {
  while (buffer_.rest().size() < kByteOrderMark.size() && buffer_.more()) continue;
  if (buffer_.rest().starts_with(kByteOrderMark)) buffer_.consume(kByteOrderMark.size());
  read_header(columns);
}

void DelimitedReader::read_header(const std::vector<std::string>& columns) {
  SourceRecord first;
  if (!next_record(first)) throw DataError(concat(path_.string(), ": the file is empty"));
  if (!first.reason.empty()) bad_header(path_, concat("the first line cannot be read: ", first.reason));
  width_ = fields_.size();
  std::vector<std::string> names(fields_.size());
  for (size_t i = 0; i < names.size(); ++i) names[i] = as_utf8(fields_[i], names[i]);
  for (const std::string& column : columns) places_.push_back(place_of(column, names));
  if (!options_.header) pending_ = 0;  // so it is read once more
}

std::string_view DelimitedReader::as_utf8(std::string_view field, std::string& memory) const {
  if (options_.encoding == Encoding::kUtf8 || is_ascii(field)) return field;
  memory.clear();
  append_latin1(field, memory);
  return memory;
}

size_t DelimitedReader::place_of(const std::string& column, const std::vector<std::string>& names) const {
  if (options_.header) {
    const auto found = std::find(names.begin(), names.end(), column);
    if (found != names.end()) {
      if (std::find(found + 1, names.end(), column) == names.end()) return static_cast<size_t>(found - names.begin());
      bad_header(path_, concat("two columns are called \"", column, "\"; give its position, from 1"));
    }
  }
  const auto position = position_of(column);
  if (position && *position >= 1 && *position <= width_) return *position - 1;
  if (position) bad_header(path_, concat("no column ", column, ": the first line has ", width_));
  if (!options_.header) {
    bad_header(path_, concat("column \"", column, "\": expected a position from 1, since the file has no header"));
  }
  const std::string nearest = did_you_mean(column, names);
  bad_header(path_,
             concat("no column \"", column, "\"", nearest.empty() ? "." : nearest, " The header has: ", joined(names)));
}

bool DelimitedReader::next(SourceRecord& record) {
  if (!next_record(record)) return false;
  if (record.reason.empty()) record.reason = reason_against(record.raw);
  if (!record.reason.empty()) return true;
  record.fields.clear();
  for (size_t i = 0; i < places_.size(); ++i) record.fields.push_back(as_utf8(fields_[places_[i]], latin1_[i]));
  return true;
}

bool DelimitedReader::next_record(SourceRecord& record) {
  advance(std::exchange(pending_, 0));
  record.reason = {};
  while (true) {
    if (buffer_.rest().empty() && !buffer_.more()) return false;
    const auto [status, size] = parser_.parse(buffer_.rest(), buffer_.at_end(), fields_);
    if (status == Status::kNeedsMore) {
      if (buffer_.rest().size() <= buffer_.limits().longest_record) {
        buffer_.more();
        continue;
      }
      reject_front(record);
      return true;
    }
    record.line = line_;
    record.raw = without_line_break(buffer_.rest().substr(0, size));
    if (record.raw.empty()) {  // a blank line
      advance(size);
      continue;
    }
    pending_ = size;
    if (status == Status::kUnclosedQuote) record.reason = "unclosed quotation mark";
    if (status == Status::kBrokenQuotes) record.reason = "text behind a closing quotation mark";
    if (size > buffer_.limits().longest_record) record.reason = "line too long";
    return true;
  }
}

void DelimitedReader::advance(size_t size) {
  const std::string_view gone = buffer_.rest().substr(0, size);
  line_ += std::count(gone.begin(), gone.end(), '\n');
  buffer_.consume(size);
}

/// The record does not end within the limit: either a quotation mark is not closed, then its first line goes, or there
/// is no end of the line.
void DelimitedReader::reject_front(SourceRecord& record) {
  record.line = line_;
  const std::string_view rest = buffer_.rest();
  if (const size_t line_break = rest.find('\n'); line_break != std::string_view::npos) {
    record.reason = "unclosed quotation mark";
    record.raw = without_line_break(rest.substr(0, line_break + 1));
    pending_ = line_break + 1;
    return;
  }
  skip_long_line(record);
}

void DelimitedReader::skip_long_line(SourceRecord& record) {
  beginning_ = buffer_.rest().substr(0, kShownBytes);
  size_t line_break = std::string_view::npos;
  while (line_break == std::string_view::npos) {
    buffer_.consume(buffer_.rest().size());
    if (!buffer_.more()) break;
    line_break = buffer_.rest().find('\n');
  }
  if (line_break != std::string_view::npos) advance(line_break + 1);
  record.reason = "line too long";
  record.raw = beginning_;
}

std::string_view DelimitedReader::reason_against(std::string_view raw) const {
  if (raw.find('\0') != std::string_view::npos) return "NUL byte";
  if (options_.encoding == Encoding::kUtf8 && !is_valid_utf8(raw)) return "invalid UTF-8";
  if (fields_.size() != width_) return "wrong number of columns";
  return {};
}

}  // namespace rondo
