#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "trainer/nn/dropout.h"
#include "trainer/nn/layers.h"

namespace rondo {

/// Differentiable operations on packed rows [rows, width]. fp32 on the CPU runs fused kernels whose results do not
/// depend on the number of threads; everything else runs the compositions of plain_ops.h. Nothing is kept for a
/// backward pass when gradients are off or no input asks for one.

/// GELU in its erf form: (x + bias) * Phi(x + bias).
at::Tensor bias_gelu(const at::Tensor& x, const at::Tensor& bias);

/// What a product without its bias has left to do.
struct BiasedRows {
  at::Tensor product;  // [rows, width]
  at::Tensor bias;     // [width]
};

/// LayerNorm(residual + dropout(x.product + x.bias)): how both halves of a BERT layer end.
at::Tensor residual_norm(const BiasedRows& x, const at::Tensor& residual, const LayerNorm& norm,
                         const PackedDropout& dropout);

/// Attention of each text to itself: softmax(q k^T / sqrt(width / heads)), dropout, times v. `joined` is
/// [rows, 3 * width]: query, key, value. Element (i, j) of head h of a text of length n is row h * n + i, column j of
/// the dropout's block of width n.
at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout);

/// The tables whose rows make a token's vector.
struct TokenTables {
  at::Tensor word;        // [vocabulary, width]
  at::Tensor position;    // [positions, width]
  at::Tensor token_type;  // [types, width]; row 0 is used
};

/// dropout(LayerNorm(word + position + token type)) of the rows' tokens. REQUIRES: tokens and positions within the
/// tables.
at::Tensor embed_tokens(const TokenTables& tables, const LayerNorm& norm, const PackedDropout& dropout);

/// Mean of each text's rows, [texts, width]; zeros for a text without rows.
at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows);

/// First row of each text ([CLS]), [texts, width]. REQUIRES: no text without rows.
at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows);

/// Largest value of each column over a text's rows, [texts, width]; its gradient goes to the first row that has it.
/// REQUIRES: no text without rows.
at::Tensor pool_max(const at::Tensor& x, const PackedRowsPtr& rows);

}  // namespace rondo
