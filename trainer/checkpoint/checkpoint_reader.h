#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/checkpoint/job_fit.h"
#include "trainer/checkpoint/manifest.h"

namespace rondo {

/// A checkpoint whose manifest, sizes and digests have been verified; nothing of it was parsed before that. Every call
/// but the accessors is collective (any number of ranks, whatever number wrote it) and sets the phase to kCheckpoint,
/// then to kStep.
class CheckpointReader {
 public:
  /// The newest checkpoint of a `checkpoints/` folder that is in order: the one LATEST names, else older ones; what was
  /// passed over stands in rejected() and in the log. None if there is nothing at all. Throws StorageError, with all
  /// reasons, if there are checkpoints and none can be used; ConfigError (code 78) if one that comes up was written by
  /// a newer format.
  static std::optional<CheckpointReader> open_latest(const std::filesystem::path& folder, Communicator& comm);

  /// One checkpoint folder. Throws StorageError naming the file that is not as it was written, ConfigError for a newer
  /// format, DataError (kMissingInput) if there is no such folder.
  static CheckpointReader open(const std::filesystem::path& checkpoint, Communicator& comm);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }

  /// What was passed over and why, one line each.
  const std::vector<std::string>& rejected() const { return rejected_; }

  /// Content of one of the texts (CheckpointContent::texts). Not collective. Throws ConfigError naming the text if the
  /// checkpoint has none of that name.
  std::string text(const std::string& name) const;

  /// Overwrites the dense tensors in place, fills the stores (REQUIRES: without rows) with the buckets they hold here,
  /// and sets step and cursor. Throws ConfigError (code 78) with every difference between checkpoint and job, before it
  /// changes anything; StorageError if a file cannot be read.
  void load(CheckpointContent& content, LoadScope scope = LoadScope::kResume) const;

 private:
  CheckpointReader(std::filesystem::path folder, Manifest manifest, Communicator& comm)
      : folder_(std::move(folder)), manifest_(std::move(manifest)), comm_(&comm) {}

  std::filesystem::path folder_;
  Manifest manifest_;
  Communicator* comm_;
  std::vector<std::string> rejected_;
};

}  // namespace rondo
