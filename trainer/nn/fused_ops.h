#pragma once

#include "trainer/nn/packed_ops.h"

/// The operations of packed_ops.h by kernels of our own, fp32 on the CPU, each with its own backward pass. Inputs are
/// contiguous. Nothing is kept unless gradients are on and asked for.
namespace rondo::fused {

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias);
at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout);
at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout);
at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout);
at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows);
at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows);
at::Tensor pool_max(const at::Tensor& x, const PackedRowsPtr& rows);

}  // namespace rondo::fused
