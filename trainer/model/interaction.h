#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/model/model_options.h"

namespace rondo {

/// Vectors [n, dim] whose dot products are the interaction's scores: divided by their lengths for cosine (zero stays
/// zero).
at::Tensor normalized(const at::Tensor& vectors, InteractionKind kind);

}  // namespace rondo
