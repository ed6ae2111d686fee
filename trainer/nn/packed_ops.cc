#include "trainer/nn/packed_ops.h"

#include "sharding/base/check.h"
#include "trainer/nn/fused_ops.h"
#include "trainer/nn/plain_ops.h"

namespace rondo {
namespace {

void check_rows(const at::Tensor& x, int64_t rows, int64_t width) {
  RONDO_CHECK(x.dim() == 2 && x.size(0) == rows && x.size(1) == width, "[", rows, ", ", width, "] expected, got ",
              x.sizes());
}

void check_vector(const at::Tensor& x, int64_t width) {
  RONDO_CHECK(x.dim() == 1 && x.size(0) == width, "[", width, "] expected, got ", x.sizes());
}

bool has_kernel(const at::Tensor& x) { return x.scalar_type() == at::kFloat && x.is_cpu(); }

}  // namespace

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias) {
  check_rows(x, x.size(0), bias.size(0));
  if (!has_kernel(x)) return plain::bias_gelu(x, bias);
  return fused::bias_gelu(x.contiguous(), bias.contiguous());
}

at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout) {
  const int64_t rows = dropout.rows->rows(), width = norm.weight.size(0);
  check_rows(x.product, rows, width);
  check_rows(residual, rows, width);
  check_vector(x.bias, width);
  if (!has_kernel(residual)) return plain::residual_norm(x, residual, norm, dropout);
  return fused::residual_norm({x.product.contiguous(), x.bias.contiguous()}, residual.contiguous(), norm, dropout);
}

at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout) {
  RONDO_CHECK_EQ(joined.size(0), dropout.rows->rows(), "rows of an attention");
  RONDO_CHECK_EQ(joined.size(1) % (3 * heads), 0, "width of an attention with ", heads, " heads");
  if (!has_kernel(joined)) return plain::packed_attention(joined, heads, dropout);
  return fused::packed_attention(joined.contiguous(), heads, dropout);
}

at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout) {
  const int64_t width = norm.weight.size(0);
  check_rows(tables.word, tables.word.size(0), width);
  check_rows(tables.position, tables.position.size(0), width);
  check_rows(tables.token_type, tables.token_type.size(0), width);
  return has_kernel(tables.word) ? fused::embed_tokens(tables, norm, dropout)
                                 : plain::embed_tokens(tables, norm, dropout);
}

at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows) {
  check_rows(x, rows->rows(), x.size(1));
  return has_kernel(x) ? fused::pool_mean(x.contiguous(), rows) : plain::pool_mean(x, rows);
}

at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows) {
  check_rows(x, rows->rows(), x.size(1));
  return has_kernel(x) ? fused::pool_first(x.contiguous(), rows) : plain::pool_first(x, rows);
}

at::Tensor pool_max(const at::Tensor& x, const PackedRowsPtr& rows) {
  check_rows(x, rows->rows(), x.size(1));
  return has_kernel(x) ? fused::pool_max(x.contiguous(), rows) : plain::pool_max(x, rows);
}

}  // namespace rondo
