#include "trainer/nn/packed_ops.h"

#include "sharding/base/check.h"
#include "trainer/nn/fused_ops.h"
#include "trainer/nn/plain_ops.h"

namespace rondo {
namespace {

bool has_kernel(const at::Tensor& x) { return x.scalar_type() == at::kFloat && x.is_cpu(); }

}  // namespace

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias) {
  if (!has_kernel(x)) return plain::bias_gelu(x, bias);
  return fused::bias_gelu(x.contiguous(), bias.contiguous());
}

at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout) {
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
  return has_kernel(tables.word) ? fused::embed_tokens(tables, norm, dropout)
                                 : plain::embed_tokens(tables, norm, dropout);
}

at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows) {
  return has_kernel(x) ? fused::pool_mean(x.contiguous(), rows) : plain::pool_mean(x, rows);
}

at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows) {
  return has_kernel(x) ? fused::pool_first(x.contiguous(), rows) : plain::pool_first(x, rows);
}

}  // namespace rondo
