#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/sharded_embedding.h"
#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/model/recommender_model.h"
#include "trainer/optim/dense_optimizer.h"

namespace rondo {

/// A model with its tables on the ranks of a job, over a dataset in memory: what train, evaluate and recommend share.
struct Recommender {
  /// Keeps references to `data` and `comm`. Collective.
  Recommender(const ModelOptions& options, const RecommenderData& data, uint64_t seed, Communicator& comm);

  uint64_t seed;
  ItemFeatures features;
  RecommenderModel model;
  ShardedEmbedding embedding;
};

/// The state of `recommender` (and of `optimizer`, if given) as a checkpoint holds it; tensors are shared.
CheckpointContent checkpoint_content(Recommender& recommender, const DenseOptimizer* optimizer);

}  // namespace rondo
