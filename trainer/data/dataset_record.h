#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/data/split.h"

namespace rondo {

namespace proto {
class Split;
}

/// The split of a job or a dataset record; not validated.
SplitOptions split_from_proto(const proto::Split& from);

/// What a dataset folder says of itself: dataset.textproto.
struct DatasetRecord {
  std::string schema_text;  // proto.Schema as text
  SplitOptions split;
  int64_t users = 0;
  int64_t items = 0;
  int64_t events = 0;
  int64_t rows_read = 0;
  int64_t rows_filtered = 0;
  int64_t duplicates_dropped = 0;
  std::map<std::string, int64_t> rejected;  // reason -> rows
  std::vector<std::string> behaviours;
  std::string vocabulary_sha256;               // empty: none learned
  std::map<std::string, std::string> digests;  // file -> SHA-256
};

constexpr char kDatasetRecordFile[] = "dataset.textproto";

/// Replaces the file atomically.
void write_dataset_record(const std::filesystem::path& folder, const DatasetRecord& record);

/// Throws DataError (kMissingInput) if the folder is no dataset, StorageError for one that cannot be read.
DatasetRecord read_dataset_record(const std::filesystem::path& folder);

}  // namespace rondo
