#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/schema.h"
#include "trainer/data/source_buffer.h"

namespace rondo {

/// One record: its fields, valid until the next call of `next`.
struct SourceRecord {
  int64_t line = 0;         // where it begins, from 1
  std::string_view raw;     // without the line break; of one that is too long, the beginning
  std::string_view reason;  // why it is rejected; empty: it is sound
  std::vector<std::string_view> fields;
};

/// The elements of an array of a JSON source are one field, joined by this.
inline constexpr char kElementSeparator = '\x1F';

/// Reads the records of one file. Bounded memory. One thread.
class RecordReader {
 public:
  virtual ~RecordReader() = default;

  /// False at the end of the file. Throws what ByteSource throws.
  virtual bool next(SourceRecord& record) = 0;

  virtual ByteSource& source() = 0;
};

/// Field i of a record is `columns[i]`.
///
/// Throws DataError "file:1: ..." for an empty file, a header without one of the columns or with it twice (names those
/// that it has and the nearest), or a position above the number of columns. Of JSON lines, a column that no record has
/// is found out by `next`.
std::unique_ptr<RecordReader> open_records(const std::filesystem::path& path, const FileOptions& options,
                                           const std::vector<std::string>& columns, const SourceLimits& limits = {});

}  // namespace rondo
