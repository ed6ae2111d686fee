#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/delimited_parser.h"
#include "trainer/data/record_reader.h"

namespace rondo {

/// Records of CSV, TSV and their like. Blank lines are none.
class DelimitedReader final : public RecordReader {
 public:
  DelimitedReader(const std::filesystem::path& path, const FileOptions& options,
                  const std::vector<std::string>& columns, const SourceLimits& limits);

  bool next(SourceRecord& record) override;
  ByteSource& source() override { return buffer_.source(); }

 private:
  void read_header(const std::vector<std::string>& columns);
  size_t place_of(const std::string& column, const std::vector<std::string>& names) const;

  bool next_record(SourceRecord& record);
  void advance(size_t size);
  void reject_front(SourceRecord& record);
  void skip_long_line(SourceRecord& record);
  std::string_view reason_against(std::string_view raw) const;
  std::string_view as_utf8(std::string_view field, std::string& memory) const;

  std::filesystem::path path_;
  FileOptions options_;
  SourceBuffer buffer_;
  DelimitedParser parser_;
  std::vector<std::string_view> fields_;  // all of the record
  std::vector<size_t> places_;            // of the columns that are asked for
  std::vector<std::string> latin1_;       // the asked for, as UTF-8 where they needed it
  std::string beginning_;                 // of a line that is too long
  size_t width_ = 0;
  size_t pending_ = 0;  // bytes of the record that was given out last
  int64_t line_ = 1;    // of the front of the buffer
};

}  // namespace rondo
