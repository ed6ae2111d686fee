#include "trainer/model/interaction.h"

#include <ATen/TensorOperators.h>

namespace rondo {

at::Tensor normalized(const at::Tensor& vectors, InteractionKind kind) {
  if (kind != InteractionKind::kCosine) return vectors;
  return vectors / vectors.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace rondo
