#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

/// Cuts the first record off a text with a delimiter (RFC 4180) and splits it. Where the standard is silent: a
/// quotation mark opens a field only at its start, elsewhere it is a character like others; a line ends with "\n" or
/// "\r\n".
class DelimitedParser {
 public:
  DelimitedParser(char delimiter, bool quoted) : delimiter_(delimiter), quoted_(quoted) {}

  enum class Status {
    kRecord,
    kNeedsMore,      // the text ends before the record does
    kBrokenQuotes,   // text behind a closing quotation mark; `size` ends that line
    kUnclosedQuote,  // to the end of the text; `size` ends the first line
  };

  struct Result {
    Status status;
    size_t size = 0;  // of the record with its line break
  };

  /// `fields` view `text`, or memory that is valid until the next call. With `is_last`, no text follows.
  Result parse(std::string_view text, bool is_last, std::vector<std::string_view>& fields);

 private:
  /// A field with doubled quotation marks, as it stands in `unpacked_`.
  struct Unpacked {
    size_t field, begin, size;
  };

  void split_line(std::string_view line, std::vector<std::string_view>& fields) const;
  Result parse_quoted(std::string_view text, bool is_last, std::vector<std::string_view>& fields);
  size_t closing_quote(std::string_view text, size_t begin, bool& has_doubled) const;
  void unpack(std::string_view quoted, size_t field);

  char delimiter_;
  bool quoted_;
  std::string unpacked_;
  std::vector<Unpacked> unpacked_fields_;
};

}  // namespace rondo
