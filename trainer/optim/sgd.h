#pragma once

#include "trainer/nn/parameter.h"
#include "trainer/optim/dense_optimizer.h"
#include "trainer/optim/parameter_blocks.h"

namespace rondo {

struct SgdOptions {
  double learning_rate = 0.1;
  double weight_decay = 0.0;  // added to the gradient, only on parameters that decay
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const SgdOptions& options);

/// w -= lr (g + wd w). No state.
class Sgd final : public DenseOptimizer {
 public:
  /// Shares the parameters with the layers that own them; fp32 or fp64, on the CPU.
  Sgd(ParameterList parameters, const SgdOptions& options);

  StepVerdict step(const DenseStep& step) override;
  const ParameterList& state() const override { return state_; }

 private:
  SgdOptions options_;
  ParameterBlocks blocks_;
  ParameterList state_;  // empty
};

}  // namespace rondo
