#include "trainer/nn/fused_ops.h"

#include <ATen/ops/empty_like.h>

#include "sharding/base/parallel.h"
#include "trainer/nn/autograd_memory.h"
#include "trainer/nn/row_kernels.h"
#include "trainer/nn/row_sums.h"

namespace rondo::fused {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor forward_gelu(const at::Tensor& x, const at::Tensor& bias) {
  at::Tensor out = at::empty_like(x);
  const kernels::BiasGelu task{.product = x.const_data_ptr<float>(),
                               .bias = bias.const_data_ptr<float>(),
                               .width = x.size(1),
                               .out = out.mutable_data_ptr<float>()};
  parallel_for(x.size(0), kRowsPerRange, [&](int64_t begin, int64_t end) { kernels::bias_gelu(task, begin, end); });
  return out;
}

class BiasGeluFunction : public torch::autograd::Function<BiasGeluFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& bias) {
    context->save_for_backward({x, bias});
    return forward_gelu(x, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &bias = saved[1];
    const at::Tensor out_gradient = gradients[0].contiguous();
    at::Tensor gradient = at::empty_like(x);
    RangeSums bias_sums(x.size(0), x.size(1));
    kernels::BiasGeluGradient task{.product = x.const_data_ptr<float>(),
                                   .bias = bias.const_data_ptr<float>(),
                                   .out_gradient = out_gradient.const_data_ptr<float>(),
                                   .width = x.size(1),
                                   .product_gradient = gradient.mutable_data_ptr<float>()};
    parallel_for(x.size(0), kRowsPerRange, [&bias_sums, task](int64_t begin, int64_t end) {
      kernels::BiasGeluGradient range = task;
      range.bias_sums = bias_sums.line(begin);
      kernels::bias_gelu_gradient(range, begin, end);
    });
    return {gradient, bias_sums.total()};
  }
};

}  // namespace

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias) {
  return wants_gradient(x, bias) ? BiasGeluFunction::apply(x, bias) : forward_gelu(x, bias);
}

}  // namespace rondo::fused
