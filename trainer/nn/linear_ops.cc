#include "trainer/nn/layers.h"

#include "trainer/nn/autograd_memory.h"
#include "trainer/nn/packed_ops.h"
#include "trainer/nn/products.h"
#include "trainer/nn/row_sums.h"

namespace rondo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The factors of a product, rounded once for the way forward and back.
struct Factors {
  at::Tensor x, weight;

  Factors(const at::Tensor& own_x, const at::Tensor& own_weight, ProductPrecision wanted)
      : x(as_factor(own_x, wanted)), weight(as_factor(own_weight, wanted)) {}

  at::Tensor product(const at::Tensor& bias) const { return linear_product(x, weight, bias); }
};

/// How a gradient must come to meet such a factor.
at::Tensor gradient_factor(const at::Tensor& gradient, const at::Tensor& factor) {
  return as_factor(gradient,
                   factor.scalar_type() == at::kBFloat16 ? ProductPrecision::kBFloat16 : ProductPrecision::kFloat32);
}

/// Gradients of x and W of a product; what is frozen costs nothing. REQUIRES: x and weight are inputs 0 and 1, and
/// their factors are saved.
variable_list product_gradients(AutogradContext* context, const at::Tensor& own_gradient) {
  const variable_list saved = context->get_saved_variables();
  const at::Tensor gradient = gradient_factor(own_gradient, saved[0]);
  variable_list result(2);
  if (context->needs_input_grad(0)) result[0] = input_gradient(gradient, saved[1]);
  if (context->needs_input_grad(1)) result[1] = weight_gradient(gradient, saved[0]);
  return result;
}

/// x W^T.
class ProductFunction : public torch::autograd::Function<ProductFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            ProductPrecision precision) {
    const Factors factors(x, weight, precision);
    context->save_for_backward({factors.x, factors.weight});
    return factors.product({});
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    variable_list result = product_gradients(context, gradients[0].contiguous());
    result.emplace_back();
    return result;
  }
};

/// x W^T + b.
class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, ProductPrecision precision) {
    const Factors factors(x, weight, precision);
    context->save_for_backward({factors.x, factors.weight});
    return factors.product(bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor gradient = gradients[0].contiguous();
    variable_list result = product_gradients(context, gradient);
    result.push_back(column_sum(gradient));
    result.emplace_back();
    return result;
  }
};

/// The block's storage, which autograd does not see: gradients go to its three parts.
struct JoinedBlock {
  at::Tensor weight;
  at::Tensor bias;
  ProductPrecision precision;
};

class JoinedFunction : public torch::autograd::Function<JoinedFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& /*query_weight*/,
                            const at::Tensor& /*query_bias*/, const at::Tensor& /*key_weight*/,
                            const at::Tensor& /*key_bias*/, const at::Tensor& /*value_weight*/,
                            const at::Tensor& /*value_bias*/, const JoinedBlock& block) {
    const Factors factors(x, block.weight, block.precision);
    context->save_for_backward({factors.x, factors.weight});
    return factors.product(block.bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], own = gradients[0].contiguous(), gradient = gradient_factor(own, x);
    at::Tensor for_x;
    if (context->needs_input_grad(0)) for_x = input_gradient(gradient, saved[1]);
    const int64_t width = x.size(1);
    const at::Tensor weight = weight_gradient(gradient, x), bias = column_sum(own);
    const auto part = [width](const at::Tensor& all, int64_t i) { return all.narrow(0, i * width, width); };
    return {for_x, part(weight, 0), part(bias, 0), part(weight, 1), part(bias, 1), part(weight, 2), part(bias, 2), {}};
  }
};

}  // namespace

at::Tensor Linear::product(const at::Tensor& x) const {
  if (wants_gradient(x, weight)) return ProductFunction::apply(x, weight, precision);
  if (KeptWeight::serves(weight, precision)) return kept->product(x, weight, {});
  return Factors(x, weight, precision).product({});
}

at::Tensor Linear::gelu(const at::Tensor& x) const {
  const bool learns = wants_gradient(x, weight, bias);
  if (!learns && KeptWeight::serves(weight, precision)) return kept->gelu_product(x, weight, bias);
  return bias_gelu(product(x), bias);
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  if (wants_gradient(x, weight, bias)) return LinearFunction::apply(x, weight, bias, precision);
  if (KeptWeight::serves(weight, precision)) return kept->product(x, weight, bias);
  return Factors(x, weight, precision).product(bias);
}

at::Tensor QueryKeyValue::forward(const at::Tensor& x) const {
  if (wants_gradient(x, query.weight, key.weight, value.weight, query.bias, key.bias, value.bias)) {
    return JoinedFunction::apply(x, query.weight, query.bias, key.weight, key.bias, value.weight, value.bias,
                                 JoinedBlock{joined_weight, joined_bias, precision});
  }
  if (KeptWeight::serves(joined_weight, precision)) return kept->product(x, joined_weight, joined_bias);
  return Factors(x, joined_weight, precision).product(joined_bias);
}

}  // namespace rondo
