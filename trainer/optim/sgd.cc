#include "trainer/optim/sgd.h"

#include <cmath>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/optim/update_kernels.h"

namespace rondo {
namespace {

template <typename T>
void update(const ParameterBlock& at, const kernels::SgdFactors& factors, at::Tensor w, const at::Tensor& g) {
  kernels::sgd({.w = w.mutable_data_ptr<T>() + at.begin, .g = g.const_data_ptr<T>() + at.begin, .count = at.count},
               factors);
}

}  // namespace

void validate(const SgdOptions& options) {
  const auto check = [](const char* field, double value) {
    if (!(value >= 0.0) || !std::isfinite(value)) {
      throw ConfigError(concat("sgd: ", field, " must be 0 or more, got ", value));
    }
  };
  check("learning_rate", options.learning_rate);
  check("weight_decay", options.weight_decay);
}

Sgd::Sgd(ParameterList parameters, const SgdOptions& options) : options_(options), blocks_(std::move(parameters)) {
  validate(options_);
}

StepVerdict Sgd::step(const DenseStep& step) {
  const StepVerdict verdict = blocks_.take_gradients();
  if (verdict.finite) {
    const double rate = options_.learning_rate * step.factor;
    const double scale = clipping_scale(verdict.gradient_norm, step.max_gradient_norm);
    blocks_.for_each([&](const ParameterBlock& block) {
      const NamedParameter& parameter = blocks_.parameters()[block.parameter];
      const kernels::SgdFactors factors{.keep = parameter.decay ? 1.0 - rate * options_.weight_decay : 1.0,
                                        .rate = rate * scale};
      const at::Tensor& gradient = blocks_.gradient(block.parameter);
      if (parameter.value.scalar_type() == at::kFloat) {
        update<float>(block, factors, parameter.value, gradient);
      } else {
        update<double>(block, factors, parameter.value, gradient);
      }
    });
  }
  if (verdict.finite) blocks_.note_change();
  blocks_.drop_gradients();
  return verdict;
}

}  // namespace rondo
