#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace rondo {

/// Memory for a message or a sum, kept at its high-water mark so that a steady state allocates nothing.
class ScratchTensor {
 public:
  /// The first `count` scalars of type `type`, contents undefined; the next call may hand out the same memory.
  at::Tensor take(int64_t count, at::ScalarType type, at::DeviceType device = at::kCPU);

 private:
  at::Tensor memory_;
};

}  // namespace rondo
