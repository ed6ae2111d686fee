#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/data/batch.h"
#include "trainer/model/model_options.h"

namespace rondo {

/// What the loss reads of a batch beside the vectors.
struct LossInput {
  at::Tensor users;                     // [b, dim], normalised when the interaction is cosine
  at::Tensor items;                     // [b, dim], likewise; of the targets
  at::Tensor target_keys;               // int64 [b], row keys of the targets
  at::Tensor probabilities;             // float32 [b], p of each target before this step (count / global batch)
  std::span<const int64_t> rank_sizes;  // [world], examples of every rank
};

/// This rank's part of the in-batch softmax over the *global* batch, divided by the global sum of weights; the sum of
/// the parts over ranks is the loss, and summed gradients are its gradient (DESIGN 3, recsys_systems 8.1, 8.3, 8.4):
///
///   s_ij = u_i . v_j / temperature - log p_j;   L = sum_i w_i (log sum_j exp s_ij - s_ii) / sum of w
///
/// with j over the targets of all ranks, but for accidental hits (the same item in another example) and other items of
/// user i's training events. Collective (gathers vectors, keys, p), also with zero examples.
at::Tensor in_batch_softmax(Communicator& comm, const LossInput& input, const Batch& batch,
                            std::span<const uint64_t> positive_keys, const ModelOptions& options);

}  // namespace rondo
