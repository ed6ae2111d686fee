#include "trainer/data/source_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/data/utf8.h"

namespace rondo {
namespace {

/// Cuts a stream of bytes into records at line breaks, those inside quotes excepted.
class RecordCutter {
 public:
  RecordCutter(const std::filesystem::path& path, bool quoted) : source_(path), quoted_(quoted), buffer_(1 << 20) {}

  struct Cut {
    std::string_view text;
    int64_t line = 0;
    bool too_long = false;
    bool has_quotes = false;
  };

  /// Nothing at the end. Views live until the next call.
  std::optional<Cut> next() {
    const int64_t line = line_ + 1;
    size_t scanned = 0;
    bool inside = false, too_long = false, has_quotes = false;
    while (true) {
      const std::string_view rest(buffer_.data() + begin_ + scanned, end_ - begin_ - scanned);
      const auto* newline = static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size()));
      const size_t piece = newline != nullptr ? static_cast<size_t>(newline - rest.data()) : rest.size();
      if (quoted_) {
        const auto quotes = std::count(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(piece), '"');
        inside ^= (quotes & 1) != 0;
        has_quotes |= quotes > 0;
      }
      scanned += piece;
      if (newline != nullptr) {
        ++line_;
        if (inside && scanned <= SourceFile::kLongestRecord) {
          ++scanned;
          continue;
        }
        return cut(scanned, 1, line, {too_long, has_quotes});
      }
      if (scanned > SourceFile::kLongestRecord) {  // forget what cannot be a record, keep looking for its end
        too_long = true;
        inside = false;
        begin_ += scanned;
        scanned = 0;
      }
      if (!fill()) {
        if (scanned == 0 && !too_long) return std::nullopt;
        ++line_;
        return cut(scanned, 0, line, {too_long, has_quotes});
      }
    }
  }

  const ByteSource& source() const { return source_; }

 private:
  struct Flags {
    bool too_long;
    bool has_quotes;
  };

  Cut cut(size_t size, size_t line_break, int64_t line, Flags flags) {
    std::string_view text(buffer_.data() + begin_, size);
    begin_ += size + line_break;
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (line == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    return {text, line, flags.too_long || size > SourceFile::kLongestRecord, flags.has_quotes};
  }

  /// Moves what is left to the front and reads more behind it. False at the end of the source.
  bool fill() {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < buffer_.size() / 2) buffer_.resize(buffer_.size() * 2);
    const size_t count = source_.read(buffer_.data() + end_, buffer_.size() - end_);
    end_ += count;
    return count > 0;
  }

  ByteSource source_;
  bool quoted_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  int64_t line_ = 0;
};

/// Splits one record at the delimiter; quoted fields are unpacked into `scratch`.
class FieldSplitter {
 public:
  FieldSplitter(char delimiter, bool quoted) : delimiter_(delimiter), quoted_(quoted) {}

  /// False when a quote is not closed or text follows a closing one.
  bool split(std::string_view text, bool has_quotes, std::vector<std::string_view>& fields) {
    fields.clear();
    if (!quoted_ || !has_quotes) {
      while (true) {
        const auto* found = static_cast<const char*>(std::memchr(text.data(), delimiter_, text.size()));
        if (found == nullptr) break;
        const auto size = static_cast<size_t>(found - text.data());
        fields.push_back(text.substr(0, size));
        text.remove_prefix(size + 1);
      }
      fields.push_back(text);
      return true;
    }
    return split_quoted(text, fields);
  }

 private:
  bool split_quoted(std::string_view text, std::vector<std::string_view>& fields) {
    scratch_.clear();
    scratch_.reserve(text.size());  // never grows below: views into it stay valid
    size_t at = 0;
    while (true) {
      if (at < text.size() && text[at] == '"') {
        const size_t begin = scratch_.size();
        if (!unquote(text, at)) return false;
        fields.push_back(std::string_view(scratch_).substr(begin));
      } else {
        const size_t end = std::min(text.find(delimiter_, at), text.size());
        fields.push_back(text.substr(at, end - at));
        at = end;
      }
      if (at >= text.size()) return true;
      if (text[at] != delimiter_) return false;
      ++at;
    }
  }

  bool unquote(std::string_view text, size_t& at) {
    for (++at; at < text.size(); ++at) {
      if (text[at] != '"') {
        scratch_ += text[at];
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        scratch_ += text[at++];
      } else {
        ++at;
        return true;
      }
    }
    return false;
  }

  char delimiter_;
  bool quoted_;
  std::string scratch_;
};

[[noreturn]] void bad_header(const std::filesystem::path& path, const std::string& what) {
  throw DataError(concat(path.string(), ":1: ", what));
}

/// A number, or nothing for a name.
std::optional<size_t> position_of(const std::string& column) {
  size_t position = 0;
  const auto result = std::from_chars(column.data(), column.data() + column.size(), position);
  if (result.ec != std::errc() || result.ptr != column.data() + column.size()) return std::nullopt;
  return position;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

class SourceFile::Format {
 public:
  virtual ~Format() = default;
  virtual bool next(SourceRecord& record) = 0;
  virtual const ByteSource& source() const = 0;
};

class SourceFile::Delimited final : public Format {
 public:
  Delimited(const std::filesystem::path& path, const FileOptions& options, const std::vector<std::string>& columns)
      : path_(path), options_(options), cutter_(path, options.quoted), splitter_(options.delimiter, options.quoted) {
    first_ = cutter_.next();
    if (!first_) throw DataError(path.string() + ": the file is empty");
    splitter_.split(first_->text, first_->has_quotes, all_);
    width_ = all_.size();
    const std::vector<std::string> names(all_.begin(), all_.end());
    for (const std::string& column : columns) places_.push_back(place_of(column, names));
    if (options.header) first_.reset();
  }

  bool next(SourceRecord& record) override {
    auto cut = first_ ? std::exchange(first_, std::nullopt) : cutter_.next();
    while (cut && cut->text.empty() && !cut->too_long) cut = cutter_.next();  // blank lines are no records
    if (!cut) return false;
    record.line = cut->line;
    record.raw = cut->text;
    record.rejected = read(*cut, record.fields);
    return true;
  }

  const ByteSource& source() const override { return cutter_.source(); }

 private:
  size_t place_of(const std::string& column, const std::vector<std::string>& names) const {
    if (options_.header) {
      const auto found = std::find(names.begin(), names.end(), column);
      if (found != names.end()) return static_cast<size_t>(found - names.begin());
    }
    const auto position = position_of(column);
    if (position && *position >= 1 && *position <= width_) return *position - 1;
    if (position) bad_header(path_, concat("no column ", column, ": the first line has ", width_));
    if (!options_.header) {
      bad_header(path_, concat("column \"", column, "\": expected a position, since the file has no header"));
    }
    bad_header(path_,
               concat("no column \"", column, "\"", did_you_mean(column, names), " The header has: ", joined(names)));
  }

  const char* read(const RecordCutter::Cut& cut, std::vector<std::string_view>& fields) {
    if (cut.too_long) return "line too long";
    std::string_view text = cut.text;
    if (options_.encoding == Encoding::kLatin1) {
      converted_.clear();
      append_latin1(text, converted_);
      text = converted_;
    }
    if (text.find('\0') != std::string_view::npos) return "NUL byte";
    if (!is_valid_utf8(text)) return "invalid UTF-8";
    if (!splitter_.split(text, cut.has_quotes, all_)) return "broken quotes";
    if (all_.size() != width_) return "wrong number of columns";
    fields.clear();
    for (const size_t place : places_) fields.push_back(all_[place]);
    return nullptr;
  }

  std::filesystem::path path_;
  FileOptions options_;
  RecordCutter cutter_;
  FieldSplitter splitter_;
  std::optional<RecordCutter::Cut> first_;
  std::vector<std::string_view> all_;
  std::vector<size_t> places_;
  std::string converted_;
  size_t width_ = 0;
};

class SourceFile::JsonLines final : public Format {
 public:
  JsonLines(const std::filesystem::path& path, const std::vector<std::string>& columns)
      : cutter_(path, false), columns_(columns), texts_(columns.size()) {
    first_ = cutter_.next();
    if (!first_) throw DataError(path.string() + ": the file is empty");
  }

  bool next(SourceRecord& record) override {
    auto cut = first_ ? std::exchange(first_, std::nullopt) : cutter_.next();
    while (cut && cut->text.empty() && !cut->too_long) cut = cutter_.next();
    if (!cut) return false;
    record.line = cut->line;
    record.raw = cut->text;
    record.rejected = read(*cut, record.fields);
    return true;
  }

  const ByteSource& source() const override { return cutter_.source(); }

 private:
  const char* read(const RecordCutter::Cut& cut, std::vector<std::string_view>& fields) {
    if (cut.too_long) return "line too long";
    if (cut.text.find('\0') != std::string_view::npos) return "NUL byte";
    if (!is_valid_utf8(cut.text)) return "invalid UTF-8";
    const auto object = nlohmann::json::parse(cut.text, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return "no JSON object";
    fields.clear();
    for (size_t i = 0; i < columns_.size(); ++i) {
      const auto found = object.find(columns_[i]);
      texts_[i] = found == object.end() || found->is_null() ? "" : text_of(*found);
      fields.push_back(texts_[i]);
    }
    return nullptr;
  }

  /// Lists are joined by a blank unit separator, which a column's separator may name as "\x1f".
  static std::string text_of(const nlohmann::json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_array()) return value.dump();
    std::string text;
    for (const auto& element : value) text += (text.empty() ? "" : "\x1f") + text_of(element);
    return text;
  }

  RecordCutter cutter_;
  std::vector<std::string> columns_;
  std::vector<std::string> texts_;
  std::optional<RecordCutter::Cut> first_;
};

SourceFile::SourceFile(const std::filesystem::path& path, const FileOptions& options,
                       const std::vector<std::string>& columns) {
  if (options.kind == FileKind::kDelimited) {
    format_ = std::make_unique<Delimited>(path, options, columns);
  } else {
    format_ = std::make_unique<JsonLines>(path, columns);
  }
}

SourceFile::~SourceFile() = default;

bool SourceFile::next(SourceRecord& record) { return format_->next(record); }
int64_t SourceFile::consumed() const { return format_->source().consumed(); }
int64_t SourceFile::size() const { return format_->source().size(); }

}  // namespace rondo
