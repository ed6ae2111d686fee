#include "trainer/nn/packed_ops.h"

#include "trainer/nn/plain_ops.h"

namespace rondo {

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias) { return plain::bias_gelu(x, bias); }

at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout) {
  return plain::residual_norm(x, residual, norm, dropout);
}

at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout) {
  return plain::packed_attention(joined, heads, dropout);
}

at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout) {
  return plain::embed_tokens(tables, norm, dropout);
}

at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows) { return plain::pool_mean(x, rows); }

at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows) { return plain::pool_first(x, rows); }

}  // namespace rondo
