#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/data/examples.h"
#include "trainer/optim/dense_optimizer.h"

namespace rondo {

/// What a step is told.
struct StepPlan {
  int64_t step = 1;                   // from 1
  double learning_rate_factor = 1.0;  // the schedule's
  double clip_norm = 0.0;             // of the dense gradients; 0: never
  int64_t global_batch = 0;           // examples of a step over all ranks; the last batch of an epoch may have fewer
  bool stop = false;                  // this rank's wish to stop afterwards
  bool last = false;                  // of the run: nothing need be prepared for another one
};

/// The name is a literal.
struct NamedValue {
  std::string_view name;
  double value = 0;
};

struct StepResult {
  double loss = 0;       // of the global batch, the same on every rank
  bool stop = false;     // some rank was asked to stop
  int64_t examples = 0;  // of the global batch

  std::vector<NamedValue> phase_ms = {};  // of this rank, in the order of the step
  std::vector<NamedValue> figures = {};   // what else a step can say of itself; the same names in every step
};

/// What TrainLoop drives: a model with its data and optimizer, whose numbers depend on the plan of a step alone.
class TrainTask {
 public:
  virtual ~TrainTask() = default;

  /// Examples of an epoch.
  virtual int64_t examples() const = 0;

  /// One optimizer step on the next global batch; moves the cursor behind it. Throws ConfigError on every rank, before
  /// anything is updated, when the loss or a dense gradient is not finite. Collective.
  virtual StepResult step(DataCursor& cursor, const StepPlan& plan) = 0;

  /// Model and optimizer as a checkpoint holds them, with their seed; tensors are shared.
  virtual CheckpointContent content() = 0;

  virtual const DenseOptimizer& optimizer() const = 0;
};

}  // namespace rondo
