#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/storage/file_system.h"

namespace rondo {

struct CheckpointWriterOptions {
  /// How many checkpoints stay: the newest and those before it. At least 1; at least 2 if a damaged newest one must not
  /// cost the run.
  int64_t keep = 3;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const CheckpointWriterOptions& options);

/// Writes checkpoints into the folder `checkpoints/` of a run (DESIGN 9).
///
/// A checkpoint is there wholly or not at all, whenever a process dies or the power fails: every rank writes and syncs
/// its files in a temporary folder; when all have, rank 0 adds the manifest, renames the folder (the commit), and
/// points LATEST at it. One job per run folder: hold its RunLock. Every call is collective.
class CheckpointWriter {
 public:
  /// Makes the folder and tries to write there; removes what an interrupted write left. `files` and `comm` outlive it.
  /// Throws StorageError on all ranks (kCannotCreate if nothing can be written, or the folder is a symbolic link).
  CheckpointWriter(std::filesystem::path folder, FileSystem& files, Communicator& comm,
                   const CheckpointWriterOptions& options);

  /// Writes `content` and returns its folder; older checkpoints beyond `keep` are removed then, never the newest
  /// complete ones. Sets the phase to kCheckpoint, then to kStep.
  ///
  /// If it fails on one rank, all throw StorageError, nothing of it is left, and the checkpoints before it stay: the
  /// caller may go on training.
  std::filesystem::path write(const CheckpointContent& content);

  /// The checkpoint of this step stays, beside those that `keep` covers, until another one is held; 0: none.
  void hold(int64_t step) { held_step_ = step; }

 private:
  std::filesystem::path make_temporary(const CheckpointContent& content);
  void write_files(const std::filesystem::path& temporary, const CheckpointContent& content, Manifest& manifest);
  ManifestFile finished(const std::filesystem::path& path) const;
  std::vector<ManifestFile> write_shared_files(const std::filesystem::path& temporary,
                                               const CheckpointContent& content);
  void gather_rows_files(const ShardedEmbedding& embedding, const ManifestFile& mine, Manifest& manifest);
  std::filesystem::path publish(const std::filesystem::path& temporary, const Manifest& manifest);
  void retire(const std::string& newest);
  void discard(const std::filesystem::path& path);

  std::filesystem::path folder_;
  FileSystem& files_;
  Communicator& comm_;
  CheckpointWriterOptions options_;
  int64_t held_step_ = 0;
};

}  // namespace rondo
