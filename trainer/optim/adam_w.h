#pragma once

#include "trainer/nn/parameter.h"
#include "trainer/optim/dense_optimizer.h"
#include "trainer/optim/parameter_blocks.h"

namespace rondo {

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;  // only on parameters that decay
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const AdamWOptions& options);

/// AdamW (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it: w -= lr wd w; m = b1 m + (1 - b1) g;
/// v = b2 v + (1 - b2) g^2; w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps). One pass over each parameter.
/// State: "<name>.m" and "<name>.v", zeros at the start.
class AdamW final : public DenseOptimizer {
 public:
  /// Shares the parameters with the layers that own them; fp32 or fp64, on the CPU.
  AdamW(ParameterList parameters, const AdamWOptions& options);

  StepVerdict step(const DenseStep& step) override;
  const ParameterList& state() const override { return state_; }

 private:
  AdamWOptions options_;
  ParameterBlocks blocks_;
  ParameterList state_;  // m of parameter 0, v of parameter 0, m of parameter 1, ...
};

}  // namespace rondo
