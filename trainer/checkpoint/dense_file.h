#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/storage/file_system.h"

namespace rondo {

/// `dense.h5`: one dataset a tensor, by its name, of its shape (a scalar: [1]; more than four dimensions: flat).
/// bool is stored as uint8, bf16 and fp16 as the uint16 of their bits; the manifest knows the type.

/// Name, type and shape, in the order of `tensors`. Throws InternalError for a name twice, or a type that a checkpoint
/// does not hold.
std::vector<ManifestTensor> manifest_tensors(std::span<const NamedTensor> tensors);

/// Writes and syncs. Throws StorageError.
void write_dense_file(const std::filesystem::path& path, std::span<const NamedTensor> tensors, FileSystem& files);

/// Overwrites the tensors in place. REQUIRES: the digest was verified, and the manifest names each with its type and
/// shape. Throws StorageError.
void read_dense_file(const std::filesystem::path& path, std::span<const NamedTensor> tensors);

}  // namespace rondo
