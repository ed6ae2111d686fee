#include "trainer/data/json_lines_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/data/utf8.h"

namespace rondo {
namespace {

constexpr size_t kShownBytes = 256;
constexpr size_t kMembersKept = 1000;

/// A column that none of so many records has is taken for a wrong name.
constexpr int64_t kRecordsLookedAt = 1000;

}  // namespace

/// Collects the wanted members as the parser meets them; no tree is built.
class JsonObjectParser::Handler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Handler(JsonObjectParser& parser) : parser_(parser) {}

  bool is_object() const { return is_object_; }

  bool null() override { return true; }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return scalar(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return scalar(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(text); }
  bool string(string_t& text) override { return scalar(text); }
  bool binary(binary_t&) override { return false; }

  bool start_object(size_t) override {
    is_object_ = is_object_ || (objects_ == 0 && arrays_ == 0);
    ++objects_;
    return is_object_;
  }
  bool key(string_t& name) override {
    if (objects_ != 1) return true;
    const auto found = std::find(parser_.names_.begin(), parser_.names_.end(), name);
    member_ = found == parser_.names_.end() ? -1 : found - parser_.names_.begin();
    if (parser_.members_.size() < kMembersKept) parser_.members_.insert(name);
    if (member_ >= 0) {
      parser_.seen_[static_cast<size_t>(member_)] = true;
      parser_.values_[static_cast<size_t>(member_)].clear();  // of a name that is there twice, the last counts
      elements_ = 0;
    }
    return true;
  }
  bool end_object() override {
    --objects_;
    return true;
  }
  bool start_array(size_t) override {
    ++arrays_;
    return objects_ > 0;
  }
  bool end_array() override {
    --arrays_;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool scalar(std::string_view text) {
    if (objects_ != 1 || member_ < 0) return objects_ > 0;
    std::string& value = parser_.values_[static_cast<size_t>(member_)];
    if (elements_++ > 0) value += kElementSeparator;
    value += text;
    return true;
  }

  JsonObjectParser& parser_;
  bool is_object_ = false;
  int64_t objects_ = 0, arrays_ = 0;  // that are open
  int64_t member_ = -1;               // of the outer object, if it is wanted
  int64_t elements_ = 0;              // of the member
};

JsonObjectParser::JsonObjectParser(std::vector<std::string> names)
    : names_(std::move(names)), values_(names_.size()), seen_(names_.size(), false) {}

std::string_view JsonObjectParser::parse(std::string_view text) {
  for (std::string& value : values_) value.clear();
  Handler handler(*this);
  const bool sound = nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  if (!sound || !handler.is_object()) return "no JSON object";
  for (const std::string& value : values_) {
    if (value.find('\0') != std::string::npos) return "NUL byte";
  }
  return {};
}

JsonLinesReader::JsonLinesReader(const std::filesystem::path& path, const FileOptions& options,
                                 const std::vector<std::string>& columns, const SourceLimits& limits)
    : path_(path), options_(options), buffer_(path, limits), parser_(columns), columns_(columns) {
  if (!buffer_.more()) throw DataError(concat(path.string(), ": the file is empty"));
}

bool JsonLinesReader::next(SourceRecord& record) {
  do {
    if (!next_line(record)) {
      if (sound_ > 0) require_columns();
      return false;
    }
  } while (record.raw.empty());
  if (!record.reason.empty()) return true;
  record.reason = read(record.raw, record);
  if (record.reason.empty() && ++sound_ == kRecordsLookedAt) require_columns();
  return true;
}

bool JsonLinesReader::next_line(SourceRecord& record) {
  buffer_.consume(std::exchange(pending_, 0));
  record.reason = {};
  size_t line_break = buffer_.rest().find('\n');
  while (line_break == std::string_view::npos) {
    if (buffer_.rest().size() > buffer_.limits().longest_record) {
      if (record.reason.empty()) beginning_ = buffer_.rest().substr(0, kShownBytes);
      record.reason = "line too long";
      buffer_.consume(buffer_.rest().size());
    }
    const size_t known = buffer_.rest().size();
    if (!buffer_.more()) break;
    line_break = buffer_.rest().find('\n', known);
  }
  if (line_break == std::string_view::npos && buffer_.rest().empty() && record.reason.empty()) return false;
  record.line = ++line_;
  const std::string_view line = buffer_.rest().substr(0, line_break);
  pending_ = line.size() + (line_break == std::string_view::npos ? 0 : 1);
  record.raw = record.reason.empty() ? line : std::string_view(beginning_);
  if (record.raw.ends_with('\r')) record.raw.remove_suffix(1);
  if (line.size() > buffer_.limits().longest_record) record.reason = "line too long";
  return true;
}

std::string_view JsonLinesReader::read(std::string_view line, SourceRecord& record) {
  if (options_.encoding == Encoding::kLatin1 && !is_ascii(line)) {
    latin1_.clear();
    append_latin1(line, latin1_);
    line = latin1_;
  }
  if (line.find('\0') != std::string_view::npos) return "NUL byte";
  if (!is_valid_utf8(line)) return "invalid UTF-8";
  const std::string_view reason = parser_.parse(line);
  record.fields.assign(parser_.values().begin(), parser_.values().end());
  return reason;
}

void JsonLinesReader::require_columns() const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (parser_.seen()[i]) continue;
    const std::vector<std::string> members(parser_.members().begin(), parser_.members().end());
    std::string joined;
    for (const auto& member : members) joined += (joined.empty() ? "" : ", ") + member;
    throw DataError(concat(path_.string(), ": no record has \"", columns_[i], "\"", did_you_mean(columns_[i], members),
                           " The records have: ", joined));
  }
}

}  // namespace rondo
