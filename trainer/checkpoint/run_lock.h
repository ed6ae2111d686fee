#pragma once

#include <filesystem>
#include <string>

namespace rondo {

/// Holds a run folder for one job, as long as it lives: two jobs that write one folder destroy each other's
/// checkpoints. One per job (rank 0 takes it), not per rank.
///
/// A lock of the system (flock) on `<folder>/LOCK`, which also says who holds it. The system drops it when its holder
/// dies, however; so what a dead job left is taken over at once. Where another host's lock may not be seen (network
/// file systems), a file that names another host is taken over only by the same scheduler job, started again.
class RunLock {
 public:
  /// Makes the folder. Throws StorageError: kCannotCreate if another job holds it, naming its host, process and job, or
  /// if the folder cannot be written.
  explicit RunLock(const std::filesystem::path& folder);

  /// Releases and removes the file. Any thread of the same process.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  void take(int descriptor);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace rondo
