#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

/// What Rondo asks of the file system when it must not lose anything. An interface so that tests can fail an operation,
/// fill the disk, or drop what was not synced. Every failure is a StorageError that names the path, the operation and
/// what the system said. One thread per object.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// Makes `folder` and its parents, mode 0700 (checkpoints hold user data). Existing is fine.
  virtual void make_folder(const std::filesystem::path& folder) = 0;

  /// Writes `bytes` so that after a crash `path` holds either the old or the new content: temporary file beside it,
  /// fsync, rename, fsync of the folder.
  virtual void replace_file(const std::filesystem::path& path, std::string_view bytes) = 0;

  /// Makes what was written to `path` (file or folder) durable.
  virtual void sync(const std::filesystem::path& path) = 0;

  /// Atomic; then the parent folder is durable. The target must not exist (folders) or is replaced (files).
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;

  /// Removes a file or a whole folder; absent is fine.
  virtual void remove(const std::filesystem::path& path) = 0;

  /// Bytes available to us where `path` is.
  virtual int64_t free_bytes(const std::filesystem::path& path) const = 0;
};

/// The real one.
std::unique_ptr<FileSystem> make_posix_file_system();

/// The whole file. Throws StorageError, or DataError (kMissingInput) if it is absent; refuses more than `limit_bytes`.
std::string read_file(const std::filesystem::path& path, int64_t limit_bytes = int64_t{1} << 30);

}  // namespace rondo
