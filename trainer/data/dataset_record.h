#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/data/dataset_files.h"
#include "trainer/data/schema.h"
#include "trainer/data/split.h"

namespace rondo {

/// What one ingest added.
struct WindowRecord {
  std::string file;                            // its events or examples
  std::map<std::string, std::string> sources;  // path -> SHA-256
  int64_t rows_read = 0;
  int64_t rows_filtered = 0;
  int64_t duplicates_dropped = 0;
  std::map<std::string, int64_t> rejected;  // reason -> rows
  int64_t events = 0;
  int64_t first_time = 0;  // microseconds UTC, or ordinals
  int64_t last_time = 0;
  int64_t examples = 0;
};

/// Something counted that has a name and a place.
struct NamedCount {
  std::string name;
  int64_t count = 0;
};

/// What a dataset folder says of itself: dataset.textproto.
struct DatasetRecord {
  SchemaOptions schema;
  SplitOptions split;
  int64_t users = 0;
  int64_t items = 0;
  int64_t events = 0;  // these are sums over the windows
  int64_t rows_read = 0;
  int64_t rows_filtered = 0;
  int64_t duplicates_dropped = 0;
  std::map<std::string, int64_t> rejected;  // reason -> rows
  std::vector<std::string> behaviours;
  std::string vocabulary_sha256;               // empty: none learned
  std::map<std::string, std::string> digests;  // file -> SHA-256
  std::map<std::string, int64_t> features;     // feature -> different values
  std::vector<WindowRecord> windows;           // the first ingest, and what was appended
  int64_t examples = 0;                        // a dataset has these or events
  std::vector<NamedCount> labels;              // classes in their order, with their examples
  std::map<std::string, int64_t> parts;        // "train", "valid", "test", "drawn" -> examples
};

/// Adds a window and its counts.
void add_window(const WindowRecord& window, DatasetRecord& record);

/// Replaces the file atomically. Throws StorageError.
void write_dataset_record(const std::filesystem::path& dataset_folder, const DatasetRecord& record);

/// Throws DataError (kMissingInput) if the folder is no dataset, StorageError for a record that cannot be read.
DatasetRecord read_dataset_record(const std::filesystem::path& dataset_folder);

}  // namespace rondo
