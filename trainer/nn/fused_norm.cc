#include "trainer/nn/fused_ops.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include <vector>

#include "sharding/base/parallel.h"
#include "trainer/nn/autograd_memory.h"
#include "trainer/nn/row_kernels.h"
#include "trainer/nn/row_sums.h"

namespace rondo::fused {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::RowNorm row_norm(const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return {.weight = weight.const_data_ptr<float>(),
          .bias = bias.const_data_ptr<float>(),
          .eps = static_cast<float>(eps),
          .width = weight.size(0)};
}

/// `streams` must outlive the result.
kernels::RowDropout row_dropout(const PackedDropout& dropout, const std::vector<uint64_t>& streams) {
  return {.streams = dropout.site.active() ? streams.data() : nullptr,
          .text = dropout.rows->text.data(),
          .position = dropout.rows->position.data(),
          .threshold = dropout.site.threshold(),
          .scale = static_cast<float>(dropout.site.scale())};
}

/// The output of a norm and what its backward pass needs (undefined where nothing is kept).
struct NormResult {
  at::Tensor out;
  at::Tensor normalized;
  at::Tensor inverse_deviation;
};

NormResult make_result(int64_t rows, int64_t width, bool keep) {
  NormResult result{.out = at::empty({rows, width}, at::kFloat), .normalized = {}, .inverse_deviation = {}};
  if (keep) {
    result.normalized = at::empty({rows, width}, at::kFloat);
    result.inverse_deviation = at::empty({rows}, at::kFloat);
  }
  return result;
}

kernels::NormMemory memory_of(const NormResult& result) {
  if (!result.normalized.defined()) return {};
  return {.normalized = result.normalized.mutable_data_ptr<float>(),
          .inverse_deviation = result.inverse_deviation.mutable_data_ptr<float>()};
}

/// The way back through a norm: gradients of the rows and sums over them.
struct NormGradients {
  at::Tensor sum;
  at::Tensor product;
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor product_bias;
};

using GradientKernel = void (*)(const kernels::NormGradient&, int64_t, int64_t);

/// `saved`: normalized, inverse deviation, weight.
NormGradients norm_gradients(GradientKernel kernel, const variable_list& saved, const PackedDropout& dropout,
                             const at::Tensor& incoming) {
  const at::Tensor out_gradient = incoming.contiguous();
  const at::Tensor& normalized = saved[0];
  const int64_t rows = normalized.size(0), width = normalized.size(1);
  const std::vector<uint64_t> streams = dropout.site.streams(*dropout.rows);
  NormGradients result;
  result.sum = at::empty_like(normalized);
  result.product = dropout.site.active() ? at::empty_like(normalized) : result.sum;
  RangeSums weight(rows, width), bias(rows, width), product_bias(rows, width);
  const kernels::NormGradient task{.norm = {.weight = saved[2].const_data_ptr<float>(), .width = width},
                                   .dropout = row_dropout(dropout, streams),
                                   .out_gradient = out_gradient.const_data_ptr<float>(),
                                   .normalized = normalized.const_data_ptr<float>(),
                                   .inverse_deviation = saved[1].const_data_ptr<float>(),
                                   .sum_gradient = result.sum.mutable_data_ptr<float>(),
                                   .product_gradient = result.product.mutable_data_ptr<float>()};
  parallel_for(rows, kRowsPerRange, [&](int64_t begin, int64_t end) {
    kernels::NormGradient range = task;
    range.weight_sums = weight.line(begin);
    range.bias_sums = bias.line(begin);
    range.product_bias_sums = product_bias.line(begin);
    kernel(range, begin, end);
  });
  result.weight = weight.total();
  result.bias = bias.total();
  result.product_bias = product_bias.total();
  return result;
}

NormResult forward_residual(const BiasedRows& x, const at::Tensor& residual, const kernels::RowNorm& norm,
                            const PackedDropout& dropout, bool keep) {
  const std::vector<uint64_t> streams = dropout.site.streams(*dropout.rows);
  NormResult result = make_result(residual.size(0), residual.size(1), keep);
  const kernels::ResidualNorm task{.norm = norm,
                                   .dropout = row_dropout(dropout, streams),
                                   .product = x.product.const_data_ptr<float>(),
                                   .product_bias = x.bias.const_data_ptr<float>(),
                                   .residual = residual.const_data_ptr<float>(),
                                   .memory = memory_of(result),
                                   .out = result.out.mutable_data_ptr<float>()};
  parallel_for(residual.size(0), kRowsPerRange,
               [&](int64_t begin, int64_t end) { kernels::residual_norm(task, begin, end); });
  return result;
}

NormResult forward_embed(const TokenTables& tables, const kernels::RowNorm& norm, const PackedDropout& dropout,
                         bool keep) {
  const PackedRows& rows = *dropout.rows;
  const std::vector<uint64_t> streams = dropout.site.streams(rows);
  NormResult result = make_result(rows.rows(), tables.word.size(1), keep);
  const kernels::EmbedNorm task{.norm = norm,
                                .dropout = row_dropout(dropout, streams),
                                .tokens = rows.tokens.data(),
                                .word = tables.word.const_data_ptr<float>(),
                                .position_table = tables.position.const_data_ptr<float>(),
                                .token_type = tables.token_type.const_data_ptr<float>(),
                                .memory = memory_of(result),
                                .out = result.out.mutable_data_ptr<float>()};
  parallel_for(rows.rows(), kRowsPerRange, [&](int64_t begin, int64_t end) { kernels::embed_norm(task, begin, end); });
  return result;
}

class ResidualNormFunction : public torch::autograd::Function<ResidualNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& product, const at::Tensor& product_bias,
                            const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, double eps,
                            const PackedDropout& dropout) {
    const NormResult result =
        forward_residual({product, product_bias}, residual, row_norm(weight, bias, eps), dropout, true);
    context->save_for_backward({result.normalized, result.inverse_deviation, weight});
    remember(context, dropout);
    return result.out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const NormGradients result = norm_gradients(kernels::residual_norm_gradient, context->get_saved_variables(),
                                                recall<PackedDropout>(context), gradients[0]);
    return {result.product, result.product_bias, result.sum, result.weight, result.bias, {}, {}};
  }
};

class EmbedFunction : public torch::autograd::Function<EmbedFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& word, const at::Tensor& position,
                            const at::Tensor& token_type, const at::Tensor& weight, const at::Tensor& bias, double eps,
                            const PackedDropout& dropout) {
    const NormResult result = forward_embed({word, position, token_type}, row_norm(weight, bias, eps), dropout, true);
    context->save_for_backward({result.normalized, result.inverse_deviation, weight, word, position, token_type});
    remember(context, dropout);
    return result.out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto dropout = recall<PackedDropout>(context);
    const PackedRows& rows = *dropout.rows;
    const NormGradients result = norm_gradients(kernels::embed_norm_gradient, saved, dropout, gradients[0]);
    at::Tensor word;
    if (context->needs_input_grad(0)) word = sum_by_entry(result.sum, rows.tokens, saved[3].size(0));
    const at::Tensor position = sum_by_entry(result.sum, rows.position, saved[4].size(0));
    at::Tensor token_type = at::zeros_like(saved[5]);
    token_type[0].copy_(column_sum(position));
    return {word, position, token_type, result.weight, result.bias, {}, {}};
  }
};

}  // namespace

at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout) {
  if (!wants_gradient(x.product, x.bias, residual, norm.weight, norm.bias)) {
    return forward_residual(x, residual, row_norm(norm.weight, norm.bias, norm.eps), dropout, false).out;
  }
  return ResidualNormFunction::apply(x.product, x.bias, residual, norm.weight, norm.bias, norm.eps, dropout);
}

at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout) {
  if (!wants_gradient(tables.word, tables.position, tables.token_type, norm.weight, norm.bias)) {
    return forward_embed(tables, row_norm(norm.weight, norm.bias, norm.eps), dropout, false).out;
  }
  return EmbedFunction::apply(tables.word, tables.position, tables.token_type, norm.weight, norm.bias, norm.eps,
                              dropout);
}

}  // namespace rondo::fused
