#pragma once

#include <string>

#include "trainer/data/catalog.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {

/// A TextColumn as `<name>/bytes` and `<name>/offsets`. Reading checks that offsets ascend within the bytes.
void write_texts(const std::string& name, const TextColumn& texts, Hdf5Writer& file);
TextColumn read_texts(const std::string& name, const Hdf5Reader& file, const std::filesystem::path& path);

/// Throws StorageError naming file and dataset unless `offsets` begin at 0, ascend, and end at `size`.
void check_offsets(const std::vector<int64_t>& offsets, int64_t size, const std::string& name,
                   const std::filesystem::path& path);

}  // namespace rondo
