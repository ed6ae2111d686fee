#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/schema.h"

namespace rondo {

/// Bytes of a file, gzip unpacked on the way (recognised by content). One thread.
class ByteSource {
 public:
  /// Throws DataError (kMissingInput) naming the file.
  explicit ByteSource(const std::filesystem::path& path);
  ~ByteSource();

  /// Up to `size` bytes into `out`; 0 at the end. Throws DataError for a truncated or damaged gzip file.
  size_t read(char* out, size_t size);

  /// Bytes of the file as it lies on disk, read so far, and in all: for a progress bar.
  int64_t consumed() const;
  int64_t size() const { return size_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::filesystem::path path_;
  int64_t size_ = 0;
};

/// One record: its fields, valid until the next call of `next`.
struct SourceRecord {
  int64_t line = 0;      // where it begins, from 1
  std::string_view raw;  // without the line break
  std::vector<std::string_view> fields;
  const char* rejected = nullptr;  // why it is no record (static text), else null
};

/// Reads the records of one file: delimited text (RFC 4180) or JSON lines. Bounded memory: a record above
/// kLongestRecord is rejected and skipped. One thread.
class SourceFile {
 public:
  static constexpr size_t kLongestRecord = 1 << 20;

  /// Reads the header, and which of its columns are asked for: field i of a record is `columns[i]`.
  /// Throws DataError "file:1: ..." for an empty file, a header without one of the columns (names the nearest), or a
  /// position above the number of columns.
  SourceFile(const std::filesystem::path& path, const FileOptions& options, const std::vector<std::string>& columns);
  ~SourceFile();

  /// False at the end of the file.
  bool next(SourceRecord& record);

  int64_t consumed() const;
  int64_t size() const;

 private:
  class Delimited;
  class JsonLines;
  class Format;

  std::unique_ptr<Format> format_;
};

}  // namespace rondo
