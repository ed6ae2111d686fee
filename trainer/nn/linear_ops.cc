#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include "trainer/nn/autograd_memory.h"
#include "trainer/nn/layers.h"
#include "trainer/nn/row_sums.h"

namespace rondo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// x W^T + b, with the bias's gradient summed in a fixed order.
class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    context->save_for_backward({x, weight});
    return at::linear(x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].contiguous();
    at::Tensor x_gradient;
    if (context->needs_input_grad(0)) x_gradient = at::mm(gradient, saved[1]);
    return {x_gradient, at::mm(gradient.t(), saved[0]), column_sum(gradient)};
  }
};

/// The block's storage, which autograd does not see: gradients go to its three parts.
struct JoinedBlock {
  at::Tensor weight;
  at::Tensor bias;
};

class JoinedFunction : public torch::autograd::Function<JoinedFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& /*query_weight*/,
                            const at::Tensor& /*query_bias*/, const at::Tensor& /*key_weight*/,
                            const at::Tensor& /*key_bias*/, const at::Tensor& /*value_weight*/,
                            const at::Tensor& /*value_bias*/, const JoinedBlock& block) {
    context->save_for_backward({x});
    remember(context, block);
    return at::linear(x, block.weight, block.bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor gradient = gradients[0].contiguous();
    at::Tensor x_gradient;
    if (context->needs_input_grad(0)) x_gradient = at::mm(gradient, recall<JoinedBlock>(context).weight);
    const int64_t width = x.size(1);
    const at::Tensor weight = at::mm(gradient.t(), x), bias = column_sum(gradient);
    const auto part = [width](const at::Tensor& all, int64_t i) { return all.narrow(0, i * width, width); };
    return {x_gradient,    part(weight, 0), part(bias, 0), part(weight, 1),
            part(bias, 1), part(weight, 2), part(bias, 2), {}};
  }
};

}  // namespace

at::Tensor Linear::forward(const at::Tensor& x) const {
  return wants_gradient(x, weight, bias) ? LinearFunction::apply(x, weight, bias) : at::linear(x, weight, bias);
}

at::Tensor QueryKeyValue::forward(const at::Tensor& x) const {
  if (!wants_gradient(x, query.weight, key.weight, value.weight, query.bias, key.bias, value.bias)) {
    return at::linear(x, joined_weight, joined_bias);
  }
  return JoinedFunction::apply(x, query.weight, query.bias, key.weight, key.bias, value.weight, value.bias,
                               JoinedBlock{joined_weight, joined_bias});
}

}  // namespace rondo
