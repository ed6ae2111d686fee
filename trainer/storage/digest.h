#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace rondo {

/// SHA-256 of a stream of bytes.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::string_view bytes);

  /// 64 lower-case hexadecimal digits. Call once.
  std::string hex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string sha256_hex(std::string_view bytes);

/// Throws StorageError if the file cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace rondo
