#pragma once

#include <cstddef>
#include <cstdint>

namespace rondo {

/// Lets large CPU tensors of this process come from memory that others have let go of, instead of the system, which
/// hands it back page by page and empty. Call it once, before the first tensor; any thread may then make and drop
/// tensors. Blocks of several megabytes ask for huge pages.
void keep_tensor_memory();

/// What the process holds besides what is in use; never more than `kMostIdleBytes`.
int64_t idle_tensor_bytes();
inline constexpr int64_t kMostIdleBytes = int64_t{1} << 30;

/// Bytes that a tensor of so many takes: the next of eight steps between powers of two, so that batches of similar size
/// share blocks; where no block of that size is idle, one of up to twice as many bytes serves. Below kLeastKeptBytes
/// tensors are malloc's affair.
size_t tensor_block_bytes(size_t bytes);
inline constexpr size_t kLeastKeptBytes = size_t{1} << 18;

}  // namespace rondo
