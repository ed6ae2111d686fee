#pragma once

#include <filesystem>
#include <string>

namespace rondo {

/// The files of a run (DESIGN 11).
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path root) : root_(std::move(root)) {}

  /// runs/<job name>/<UTC time>, with -2, -3, ... where that is there already: where a run goes that names no folder.
  static std::filesystem::path default_root(const std::string& job_name);

  /// Makes the folder and those in it, mode 0700. Throws StorageError (kCannotCreate).
  void make() const;

  /// Removes the error files of an earlier attempt. Throws StorageError.
  void forget_errors() const;

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path job() const { return root_ / "job.textproto"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  std::filesystem::path index() const { return root_ / "index"; }
  std::filesystem::path log(int rank) const;    // log/rank-00000.log
  std::filesystem::path error(int rank) const;  // error/rank-00000.json

 private:
  std::filesystem::path root_;
};

}  // namespace rondo
