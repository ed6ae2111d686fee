#pragma once

#include <cstdint>
#include <memory>

#include "sharding/exchange/gradient_buckets.h"
#include "trainer/optim/adam_w.h"
#include "trainer/optim/dense_optimizer.h"
#include "trainer/optim/schedule.h"

namespace rondo {

enum class DenseOptimizerKind : uint8_t { kAdamW, kSgd };

/// How long to train, and what happens on the way.
struct TrainOptions {
  int64_t steps = 0;  ///< length; 0: `epochs` counts
  double epochs = 5;
  int64_t global_batch = 512;                                  ///< examples of a step, over all ranks
  ScheduleOptions schedule{ScheduleShape::kLinear, 100, 0.0};  ///< of all learning rates
  DenseOptimizerKind dense_optimizer = DenseOptimizerKind::kAdamW;
  AdamWOptions adam_w;           ///< SGD takes its learning rate and weight decay
  double clip_norm = 1.0;        ///< of the dense gradients; 0: never
  bool overlap_exchange = true;  ///< route the next batch behind a step; the numbers are the same
  GradientBucketOptions gradients{.overlap = true};
  int64_t log_steps = 50;
  int64_t checkpoint_steps = 0;  ///< 0: at the end only
  int64_t keep_checkpoints = 3;
  int64_t evaluate_steps = 0;   ///< on valid; 0 and no epochs: at the end only, on test
  int64_t evaluate_epochs = 0;  ///< on valid after every so many epochs
  bool keep_best = false;       ///< keep the checkpoint that validation likes best, for the final evaluation
  int64_t patience = 0;         ///< evaluations without a better one that end training; 0: never
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const TrainOptions& options);

std::unique_ptr<DenseOptimizer> make_dense_optimizer(const TrainOptions& options, ParameterList parameters);

/// Steps of the whole training over `examples`.
int64_t total_steps(const TrainOptions& options, int64_t examples);

}  // namespace rondo
