#include "sharding/exchange/scratch_tensor.h"

#include <ATen/ops/empty.h>

namespace rondo {

at::Tensor ScratchTensor::take(int64_t count, at::ScalarType type, at::DeviceType device) {
  if (!memory_.defined() || memory_.device().type() != device || memory_.scalar_type() != type ||
      memory_.size(0) < count) {
    memory_ = at::Tensor();  // before the larger one is made
    memory_ = at::empty({count + count / 4}, at::TensorOptions(device).dtype(type));
  }
  return memory_.narrow(0, 0, count);
}

}  // namespace rondo
