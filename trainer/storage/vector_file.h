#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "trainer/storage/file_system.h"

namespace rondo {

/// A matrix of fp32 rows, written front to back, in a form that numpy or h5py reads. The file appears whole, or not at
/// all.
class VectorFile {
 public:
  virtual ~VectorFile() = default;

  /// Adds rows. REQUIRES: a multiple of the width.
  virtual void append(std::span<const float> rows) = 0;

  /// Makes the file durable and gives it its name. Nothing is left of one that was not committed.
  virtual void commit() = 0;
};

/// By the extension of `path`: `.npy` (numpy's format 1.0), or `.h5` / `.hdf5` (dataset "vectors" [rows, width],
/// `notes` as attributes of the file). Replaces an existing file. Throws ConfigError for another extension. `files`
/// outlives it.
std::unique_ptr<VectorFile> make_vector_file(const std::filesystem::path& path, int64_t width,
                                             const std::map<std::string, std::string>& notes, FileSystem& files);

}  // namespace rondo
