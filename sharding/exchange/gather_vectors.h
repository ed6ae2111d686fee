#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Vectors of all ranks on every rank, differentiable: forward is an all-gather, backward a reduce-scatter that sums
/// what every rank's loss says of my vectors (recsys_systems 8.4; without it the gradient of other ranks' queries is
/// lost).
///
/// `mine` [rows[rank], dim]; result [sum(rows), dim]. Collective in forward and in backward, on Channel::kBackward;
/// when the result takes part in no loss on some rank, that rank must still run backward (multiply by zero).
at::Tensor gather_vectors(Communicator& comm, const at::Tensor& mine, std::span<const int64_t> rows);

}  // namespace rondo
