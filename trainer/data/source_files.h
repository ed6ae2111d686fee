#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/base/progress.h"
#include "trainer/data/quarantine.h"
#include "trainer/data/record_reader.h"
#include "trainer/data/schema.h"

namespace rondo {

/// Where an ingest notes what it read.
struct SourceLedger {
  Quarantine& quarantine;
  std::map<std::string, std::string>& sources;  // files read to their end: path -> SHA-256
};

/// The files of one shape, record by record. One thread.
class SourceFiles {
 public:
  /// Keeps references. Field i of a record is `columns[i]`.
  SourceFiles(const FileOptions& options, const std::vector<std::string>& columns, const SourceLedger& ledger,
              Progress& progress);

  /// Says why a record is rejected; nothing when it is not.
  using Read = std::function<std::string_view(const SourceRecord&)>;

  /// Rejected records go to the quarantine. Throws DataError naming file and line for a file that cannot be read, for
  /// files without rows, and as soon as too many rows must be rejected.
  void for_each_record(const Read& read);

 private:
  void read_file(const std::filesystem::path& path, const Read& read);
  void report(int64_t bytes);

  const FileOptions& options_;
  const std::vector<std::string>& columns_;
  SourceLedger ledger_;
  Progress& progress_;
  int64_t total_bytes_;
  int64_t done_bytes_ = 0;
  int64_t rows_ = 0;
};

}  // namespace rondo
