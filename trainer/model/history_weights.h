#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/data/batch.h"
#include "trainer/model/model_options.h"

namespace rondo {

/// alpha of every history event of `batch` [h], double: sums to 1 over each example with a history.
at::Tensor history_weights(const Batch& batch, const UserVectorOptions& options);

}  // namespace rondo
