#include "trainer/nn/products.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include <optional>

namespace rondo {

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight) { return at::mm(gradient, weight); }

at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& x) { return at::mm(gradient.t(), x); }

}  // namespace rondo
