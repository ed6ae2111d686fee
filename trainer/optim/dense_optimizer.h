#pragma once

#include <cstdint>

#include "trainer/nn/parameter.h"

namespace rondo {

/// What one step of the dense optimizer is told.
struct DenseStep {
  int64_t step = 0;     // 0, 1, ...: Adam's t is step + 1
  double factor = 1.0;  // the schedule's: multiplies the learning rate

  /// Gradients are scaled down to this global norm when theirs is larger; 0: never.
  double max_gradient_norm = 0.0;
};

/// What became of it.
struct StepVerdict {
  double gradient_norm = 0.0;  // global, before clipping

  /// False: a gradient holds NaN or infinity, and nothing was changed. Whoever drives the loop decides what follows.
  bool finite = true;
};

/// Updates replicated parameters from their summed gradients (GradientBuckets). Every rank computes the same. One
/// thread calls; the work is done in blocks of fixed size, so that results do not depend on the number of threads.
class DenseOptimizer {
 public:
  virtual ~DenseOptimizer() = default;

  /// One update of every parameter; then its gradient is dropped. A parameter without a gradient is our bug.
  virtual StepVerdict step(const DenseStep& step) = 0;

  /// What a checkpoint must hold beside the parameters, by name; restored in place (copy_).
  virtual const ParameterList& state() const = 0;
};

}  // namespace rondo
