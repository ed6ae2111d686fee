#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/record_reader.h"

namespace rondo {

/// Reads the members of one JSON object, as text: numbers as they are written, arrays joined by kElementSeparator,
/// null and what is absent as nothing; what is inside inner objects is left out.
class JsonObjectParser {
 public:
  explicit JsonObjectParser(std::vector<std::string> names);

  /// Why `text` is no such object; nothing when it is.
  std::string_view parse(std::string_view text);

  /// Of the object parsed last: member i is `names[i]`.
  const std::vector<std::string>& values() const { return values_; }

  /// Which of the names any object had, and the names of members seen (some of them).
  const std::vector<bool>& seen() const { return seen_; }
  const std::set<std::string>& members() const { return members_; }

 private:
  class Handler;

  std::vector<std::string> names_;
  std::vector<std::string> values_;
  std::vector<bool> seen_;
  std::set<std::string> members_;
};

/// Records of a file with one JSON object a line. Blank lines are none.
class JsonLinesReader final : public RecordReader {
 public:
  JsonLinesReader(const std::filesystem::path& path, const FileOptions& options,
                  const std::vector<std::string>& columns, const SourceLimits& limits);

  bool next(SourceRecord& record) override;
  ByteSource& source() override { return buffer_.source(); }

 private:
  bool next_line(SourceRecord& record);
  std::string_view read(std::string_view line, SourceRecord& record);
  void require_columns() const;

  std::filesystem::path path_;
  FileOptions options_;
  SourceBuffer buffer_;
  JsonObjectParser parser_;
  std::vector<std::string> columns_;
  std::string latin1_;     // the line, as UTF-8 where it needed it
  std::string beginning_;  // of a line that is too long
  size_t pending_ = 0;     // bytes of the line that was given out last
  int64_t line_ = 0;       // the one given out last
  int64_t sound_ = 0;      // records
};

}  // namespace rondo
