#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace rondo {

/// Host memory for addends that are under way. What comes back is handed out again, so that a steady state allocates
/// nothing.
class StagingPool {
 public:
  /// uint8, at least `bytes` long: the smallest free buffer that holds them, else a new one. Undefined for 0 bytes.
  at::Tensor take(int64_t bytes);

  /// Takes a buffer back; an undefined one is ignored.
  void give_back(at::Tensor buffer);

 private:
  std::vector<at::Tensor> free_;
};

}  // namespace rondo
