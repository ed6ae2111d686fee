#pragma once

#include <cstdint>
#include <filesystem>

#include "trainer/data/dataset_record.h"

namespace rondo {

/// What `rondo inspect` shows of a dataset folder: its record, and what follows from it.
struct DatasetDescription {
  DatasetRecord record;
  int64_t rows_rejected = 0;
  int64_t first_time = 0;  // microseconds UTC, or ordinals
  int64_t last_time = 0;
  bool time_is_order = false;
  int64_t bytes = 0;  // of all files of the folder
};

/// Reads only the record. Throws what `read_dataset_record` throws.
DatasetDescription describe_dataset(const std::filesystem::path& dataset_folder);

/// Throws StorageError naming the file unless every file of the record is there, with its digest. Reads all.
void verify_dataset(const std::filesystem::path& dataset_folder);

}  // namespace rondo
