#include "trainer/data/dataset_description.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/storage/digest.h"

namespace rondo {

DatasetDescription describe_dataset(const std::filesystem::path& dataset_folder) {
  DatasetDescription description;
  description.record = read_dataset_record(dataset_folder);
  const auto& windows = description.record.windows;
  for (const WindowRecord& window : windows) {
    const bool is_first = &window == &windows.front();
    description.first_time = is_first ? window.first_time : std::min(description.first_time, window.first_time);
    description.last_time = is_first ? window.last_time : std::max(description.last_time, window.last_time);
  }
  for (const auto& [reason, rows] : description.record.rejected) description.rows_rejected += rows;
  description.time_is_order = description.record.schema.events.time_kind == TimeKind::kOrder;
  for (const auto& entry : std::filesystem::directory_iterator(dataset_folder)) {
    if (entry.is_regular_file()) description.bytes += static_cast<int64_t>(entry.file_size());
  }
  return description;
}

void verify_dataset(const std::filesystem::path& dataset_folder) {
  for (const auto& [name, digest] : read_dataset_record(dataset_folder).digests) {
    const auto path = dataset_folder / name;
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) throw StorageError(concat(path.string(), " is missing"));
    if (sha256_of_file(path) != digest) throw StorageError(concat(path.string(), " is not what was written"));
  }
}

}  // namespace rondo
