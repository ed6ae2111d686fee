#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {

/// A TextColumn as `<name>/bytes` and `<name>/offsets`. Reading checks that offsets ascend within the bytes.
void write_texts(const std::string& name, const TextColumn& texts, Hdf5Writer& file);
TextColumn read_texts(const std::string& name, const Hdf5Reader& file, const std::filesystem::path& path);

/// Throws StorageError naming file and dataset unless `offsets` has `entries` + 1 elements that begin at 0, ascend, and
/// end at `size`.
struct OffsetsShape {
  int64_t entries;
  int64_t size;
};
void check_offsets(const std::vector<int64_t>& offsets, OffsetsShape shape, const std::string& name,
                   const std::filesystem::path& path);

/// Throws StorageError naming file and dataset unless `actual` is `expected`.
void check_length(size_t actual, size_t expected, const std::string& name, const std::filesystem::path& path);

/// Throws StorageError unless the file's layout is the one of this build.
void check_format(const Hdf5Reader& file, const std::filesystem::path& path);

}  // namespace rondo
