#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "trainer/nn/dropout.h"
#include "trainer/nn/layers.h"
#include "trainer/nn/packed_ops.h"

/// The operations of packed_ops.h as compositions of ATen's: any dtype and device, gradients by autograd. They are
/// what runs in fp64, and the oracle of the fp32 kernels.
namespace rondo::plain {

at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias);
at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout);
at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout);
at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout);
at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows);
at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows);
at::Tensor pool_max(const at::Tensor& x, const PackedRowsPtr& rows);

}  // namespace rondo::plain
