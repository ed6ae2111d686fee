#pragma once

#include <cstdint>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/exchange/gradient_buckets.h"
#include "trainer/data/batch.h"
#include "trainer/loop/train_task.h"
#include "trainer/model/recommender_model.h"
#include "trainer/optim/dense_optimizer.h"

namespace rondo {

struct TrainStepOptions {
  uint64_t seed = 1;
  GradientBucketOptions gradients;
};

/// One optimizer step, in the order in which it happens: read this first.
///
/// Collective. The numbers do not depend on the world but for the order of summation (DESIGN 3).
class TrainStep {
 public:
  /// Keeps references.
  TrainStep(RecommenderModel& model, ShardedEmbedding& embedding, DenseOptimizer& optimizer, Communicator& comm,
            const TrainStepOptions& options);

  /// `next`, where not null, is the batch of the next call: its ids travel behind this step's forward and backward
  /// pass. Throws ConfigError on every rank, before anything is updated, when the loss or a dense gradient is not
  /// finite.
  StepResult run(const Batch& batch, const Batch* next, const StepPlan& plan);

 private:
  RecommenderModel& model_;
  ShardedEmbedding& embedding_;
  DenseOptimizer& optimizer_;
  Communicator& comm_;
  GradientBuckets gradient_sum_;
  uint64_t seed_;
  RoutedIds now_, ahead_;
  bool routed_ahead_ = false;  // `ahead_` is under way
};

}  // namespace rondo
