#pragma once

#include <cstdint>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/exchange/gradient_buckets.h"
#include "trainer/data/batch.h"
#include "trainer/model/recommender_model.h"
#include "trainer/optim/dense_optimizer.h"

namespace rondo {

/// Milliseconds of this rank in each stage of a step.
struct StepTimes {
  double route = 0;
  double rows = 0;
  double forward = 0;
  double backward = 0;
  double update = 0;
};

/// What a step is told.
struct StepPlan {
  int64_t step = 1;                   // from 1
  double learning_rate_factor = 1.0;  // the schedule's
  double clip_norm = 0.0;             // of the dense gradients; 0: never
};

struct StepResult {
  double loss = 0;    // of the global batch, the same on every rank
  bool stop = false;  // some rank was asked to stop
  StepTimes times;
};

/// One optimizer step, in the order in which it happens: read this first.
///
/// Collective. The numbers do not depend on the world but for the order of summation (DESIGN 3).
class TrainStep {
 public:
  /// Keeps references.
  TrainStep(RecommenderModel& model, ShardedEmbedding& embedding, DenseOptimizer& optimizer, Communicator& comm,
            uint64_t seed);

  /// `step` counts from 1; `stop` is this rank's wish to stop afterwards. Throws ConfigError on every rank, before
  /// anything is updated, when the loss or a dense gradient is not finite.
  StepResult run(const Batch& batch, const StepPlan& plan, bool stop);

 private:
  RecommenderModel& model_;
  ShardedEmbedding& embedding_;
  DenseOptimizer& optimizer_;
  Communicator& comm_;
  GradientBuckets gradient_sum_;
  uint64_t seed_;
};

}  // namespace rondo
