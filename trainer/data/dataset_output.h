#pragma once

#include <filesystem>
#include <optional>

#include "trainer/data/dataset_record.h"
#include "trainer/data/output_folder.h"
#include "trainer/data/quarantine.h"

namespace rondo {

/// How a dataset folder comes to its place.
enum class OutputMode : uint8_t { kNew, kOverwrite, kAppend };

/// A dataset folder in the making, with its rejected rows: filled beside its place, then published. Of one that was not
/// published only the rejected rows stay, as "<out>.rejected.tsv", if there are any.
class DatasetOutput {
 public:
  /// Keeps a reference. `max_rejected_fraction`: of the quarantine. Throws StorageError (kCannotCreate) when the place
  /// is taken or cannot be made.
  DatasetOutput(FileSystem& files, const std::filesystem::path& out, OutputMode mode, double max_rejected_fraction);
  ~DatasetOutput();

  const std::filesystem::path& folder() const { return folder_->path(); }
  Quarantine& quarantine() { return *quarantine_; }

  /// Moves the rejected rows into the folder, writes the record, and durably takes the place.
  void publish(const DatasetRecord& record);

 private:
  FileSystem& files_;
  std::filesystem::path rejected_path_;
  std::optional<OutputFolder> folder_;
  std::optional<Quarantine> quarantine_;
};

}  // namespace rondo
