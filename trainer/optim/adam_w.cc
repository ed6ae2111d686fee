#include "trainer/optim/adam_w.h"

#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/optim/update_kernels.h"

namespace rondo {
namespace {

void check_field(const char* field, double value, bool valid, const char* range) {
  if (!valid) throw ConfigError(concat("adam_w: ", field, " must be ", range, ", got ", value));
}

template <typename T>
void update(const ParameterBlock& at, const kernels::AdamWFactors& factors, at::Tensor w, const at::Tensor& g,
            const ParameterList& state) {
  const at::Tensor &m = state[2 * at.parameter].value, &v = state[2 * at.parameter + 1].value;
  kernels::adam_w({.w = w.mutable_data_ptr<T>() + at.begin,
                   .g = g.const_data_ptr<T>() + at.begin,
                   .m = m.mutable_data_ptr<T>() + at.begin,
                   .v = v.mutable_data_ptr<T>() + at.begin,
                   .count = at.count},
                  factors);
}

}  // namespace

void validate(const AdamWOptions& options) {
  const auto finite_from_zero = [](double value) { return value >= 0.0 && std::isfinite(value); };
  check_field("learning_rate", options.learning_rate, finite_from_zero(options.learning_rate), "0 or more");
  check_field("beta1", options.beta1, options.beta1 >= 0.0 && options.beta1 < 1.0, "in [0, 1)");
  check_field("beta2", options.beta2, options.beta2 >= 0.0 && options.beta2 < 1.0, "in [0, 1)");
  check_field("eps", options.eps, options.eps > 0.0 && std::isfinite(options.eps), "positive");
  check_field("weight_decay", options.weight_decay, finite_from_zero(options.weight_decay), "0 or more");
}

AdamW::AdamW(ParameterList parameters, const AdamWOptions& options)
    : options_(options), blocks_(std::move(parameters)) {
  validate(options_);
  for (const NamedParameter& parameter : blocks_.parameters()) {
    state_.push_back({parameter.name + ".m", at::zeros_like(parameter.value.detach()), false});
    state_.push_back({parameter.name + ".v", at::zeros_like(parameter.value.detach()), false});
  }
}

StepVerdict AdamW::step(const DenseStep& step) {
  RONDO_CHECK_GE(step.step, 0);
  const StepVerdict verdict = blocks_.take_gradients();
  if (verdict.finite) {
    const double t = static_cast<double>(step.step + 1);
    const double rate = options_.learning_rate * step.factor;
    const kernels::AdamWFactors factors{.gradient_scale = clipping_scale(verdict.gradient_norm, step.max_gradient_norm),
                                        .keep = 1.0 - rate * options_.weight_decay,
                                        .beta1 = options_.beta1,
                                        .beta2 = options_.beta2,
                                        .step_size = rate / (1.0 - std::pow(options_.beta1, t)),
                                        .v_scale = 1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t)),
                                        .eps = options_.eps};
    blocks_.for_each([&](const ParameterBlock& block) {
      const NamedParameter& parameter = blocks_.parameters()[block.parameter];
      kernels::AdamWFactors own = factors;
      if (!parameter.decay) own.keep = 1.0;
      const at::Tensor& gradient = blocks_.gradient(block.parameter);
      if (parameter.value.scalar_type() == at::kFloat) {
        update<float>(block, own, parameter.value, gradient, state_);
      } else {
        update<double>(block, own, parameter.value, gradient, state_);
      }
    });
  }
  if (verdict.finite) blocks_.note_change();
  blocks_.drop_gradients();
  return verdict;
}

}  // namespace rondo
