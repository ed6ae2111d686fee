#include "trainer/nn/plain_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <vector>

namespace rondo::plain {
namespace {

at::Tensor normalize(const at::Tensor& x, const LayerNorm& norm) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, norm.eps, false);
}

at::Tensor drop(const at::Tensor& x, const PackedDropout& dropout) {
  return dropout.site.active() ? x * dropout_factors(dropout, x.size(1), x.scalar_type()) : x;
}

at::Tensor int_tensor(const std::vector<int32_t>& values) {
  return at::tensor(at::ArrayRef<int32_t>(values), at::kInt);
}

std::vector<int64_t> lengths(const PackedRows& rows) {
  std::vector<int64_t> result(static_cast<size_t>(rows.texts()));
  for (size_t t = 0; t < result.size(); ++t) result[t] = rows.length(static_cast<int64_t>(t));
  return result;
}

/// One text: q, k, v as [length, 3 * width] in; [length, width] out.
at::Tensor attend(const at::Tensor& joined, int64_t heads, const DropoutSite& site, uint64_t digest) {
  const int64_t length = joined.size(0);
  const int64_t head_width = joined.size(1) / (3 * heads);
  const at::Tensor split = joined.view({length, 3, heads, head_width}).permute({1, 2, 0, 3});  // [3, heads, length, d]
  const at::Tensor scores = at::matmul(split[0], split[1].transpose(1, 2)) / std::sqrt(static_cast<double>(head_width));
  at::Tensor weights = at::softmax(scores, -1);  // [heads, length, length]
  if (site.active()) {
    const at::Tensor factors = dropout_factors(site, digest, heads * length, length, joined.scalar_type());
    weights = weights * factors.view({heads, length, length});
  }
  return at::matmul(weights, split[2]).transpose(0, 1).reshape({length, heads * head_width});
}

}  // namespace

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias) { return at::gelu(x + bias); }

at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout) {
  return normalize(residual + drop(x.product + x.bias, dropout), norm);
}

at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout) {
  const PackedRows& rows = *dropout.rows;
  if (rows.texts() == 0) return joined.narrow(1, 0, joined.size(1) / 3) * 1.0;
  std::vector<at::Tensor> parts = at::split_with_sizes(joined, lengths(rows));
  for (size_t t = 0; t < parts.size(); ++t) parts[t] = attend(parts[t], heads, dropout.site, rows.digests[t]);
  return at::cat(parts);
}

at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout) {
  const PackedRows& rows = *dropout.rows;
  const at::Tensor sum = at::embedding(tables.word, int_tensor(rows.tokens)) +
                         at::embedding(tables.position, int_tensor(rows.position)) + tables.token_type[0];
  return drop(normalize(sum, norm), dropout);
}

at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows) {
  const at::Tensor sums =
      at::index_add(at::zeros({rows->texts(), x.size(1)}, x.options()), 0, int_tensor(rows->text), x);
  const at::Tensor counts = at::tensor(at::ArrayRef<int64_t>(lengths(*rows)), at::kLong).clamp_min(1);
  return sums / counts.to(x.scalar_type()).unsqueeze(1);
}

at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows) {
  const std::vector<int64_t> first(rows->offsets.begin(), rows->offsets.end() - 1);
  return at::index_select(x, 0, at::tensor(at::ArrayRef<int64_t>(first), at::kLong));
}

at::Tensor pool_max(const at::Tensor& x, const PackedRowsPtr& rows) {
  if (rows->texts() == 0) return plain::pool_first(x, rows);
  std::vector<at::Tensor> parts = at::split_with_sizes(x, lengths(*rows));
  for (at::Tensor& part : parts) part = std::get<0>(at::max(part, 0));
  return at::stack(parts);
}

}  // namespace rondo::plain
