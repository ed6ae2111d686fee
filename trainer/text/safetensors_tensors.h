#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

#include "trainer/storage/safetensors.h"

namespace rondo {

/// "[384, 1536]"
std::string shape_text(at::IntArrayRef shape);

/// Throws DataError naming file and tensor.
[[noreturn]] void refuse_tensor(const std::filesystem::path& file, const std::string& tensor,
                                const std::string& reason);

/// Throws DataError unless the entry has this shape.
void require_shape(const SafetensorsReader& file, const SafetensorsEntry& entry, at::IntArrayRef expected);

/// A tensor as fp32 (fp64 stays). Throws DataError for one of whole numbers or with a number that is not finite.
at::Tensor read_tensor(const SafetensorsReader& file, const SafetensorsEntry& entry);

/// The same by name; throws DataError too if it is missing or has another shape.
at::Tensor read_tensor(const SafetensorsReader& file, const std::string& name, at::IntArrayRef shape);

/// A contiguous fp32 tensor to write; its bytes are the tensor's, which outlives them.
SafetensorsTensor tensor_to_write(const std::string& name, const at::Tensor& values);

}  // namespace rondo
