#pragma once

#include <ATen/core/Tensor.h>

namespace rondo {

/// The dense products of linear layers, forward and backward: the one place to change how they are computed. x is
/// [rows, in], weight [out, in], gradients of the output [rows, out].

/// x weight^T, plus bias where it is defined.
at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// Gradient of x.
at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight);

/// Gradient of the weight.
at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& x);

}  // namespace rondo
