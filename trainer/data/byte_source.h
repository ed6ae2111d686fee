#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace rondo {

/// Bytes of a file, gzip unpacked on the way (recognised by content). One thread.
class ByteSource {
 public:
  /// Throws DataError (kMissingInput) naming the file when it cannot be opened.
  explicit ByteSource(const std::filesystem::path& path);
  ~ByteSource();
  ByteSource(ByteSource&&) noexcept;

  /// Fills the front of `out` and returns how much; 0 at the end. Throws DataError for a truncated or damaged gzip
  /// file, StorageError when the system cannot read.
  size_t read(std::span<char> out);

  /// Bytes of the file as it lies on disk, read so far, and in all: for a progress bar.
  int64_t consumed() const;
  int64_t size() const;

  /// Bytes given out so far.
  int64_t unpacked() const;

  const std::filesystem::path& path() const;

  /// SHA-256 of the file as it lies on disk. Call once, at the end.
  std::string digest();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
