#include "trainer/nn/layers.h"

#include "trainer/nn/autograd_memory.h"
#include "trainer/nn/products.h"
#include "trainer/nn/row_sums.h"

namespace rondo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Gradients of x and W of a product; what is frozen costs nothing. REQUIRES: x and weight are inputs 0 and 1.
variable_list product_gradients(AutogradContext* context, const at::Tensor& gradient) {
  const variable_list saved = context->get_saved_variables();
  variable_list result(2);
  if (context->needs_input_grad(0)) result[0] = input_gradient(gradient, saved[1]);
  if (context->needs_input_grad(1)) result[1] = weight_gradient(gradient, saved[0]);
  return result;
}

/// x W^T.
class ProductFunction : public torch::autograd::Function<ProductFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight) {
    context->save_for_backward({x, weight});
    return linear_product(x, weight, {});
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return product_gradients(context, gradients[0].contiguous());
  }
};

/// x W^T + b.
class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    context->save_for_backward({x, weight});
    return linear_product(x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor gradient = gradients[0].contiguous();
    variable_list result = product_gradients(context, gradient);
    result.push_back(column_sum(gradient));
    return result;
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
    return linear_product(x, block.weight, block.bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor gradient = gradients[0].contiguous();
    at::Tensor for_x;
    if (context->needs_input_grad(0)) for_x = input_gradient(gradient, recall<JoinedBlock>(context).weight);
    const int64_t width = x.size(1);
    const at::Tensor weight = weight_gradient(gradient, x), bias = column_sum(gradient);
    const auto part = [width](const at::Tensor& all, int64_t i) { return all.narrow(0, i * width, width); };
    return {for_x, part(weight, 0), part(bias, 0), part(weight, 1), part(bias, 1), part(weight, 2), part(bias, 2), {}};
  }
};

}  // namespace

at::Tensor Linear::product(const at::Tensor& x) const {
  return wants_gradient(x, weight) ? ProductFunction::apply(x, weight) : linear_product(x, weight, {});
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  return wants_gradient(x, weight, bias) ? LinearFunction::apply(x, weight, bias) : linear_product(x, weight, bias);
}

at::Tensor QueryKeyValue::forward(const at::Tensor& x) const {
  if (!wants_gradient(x, query.weight, key.weight, value.weight, query.bias, key.bias, value.bias)) {
    return linear_product(x, joined_weight, joined_bias);
  }
  return JoinedFunction::apply(x, query.weight, query.bias, key.weight, key.bias, value.weight, value.bias,
                               JoinedBlock{joined_weight, joined_bias});
}

}  // namespace rondo
