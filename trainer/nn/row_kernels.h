#pragma once

#include <cstdint>

/// Fused fp32 passes over packed rows [rows, width], vectorised; the instruction set is chosen when the program runs.
/// Each call does rows [begin, end) and writes nothing else, so that calls on disjoint ranges may run in parallel.
/// Sums over rows come as partial sums of one range: who adds them in order gets results that do not depend on the
/// number of threads.
namespace rondo::kernels {

/// Which draws belong to a row (DropoutSite).
struct RowDropout {
  const uint64_t* streams = nullptr;  // [texts]; null: nothing is dropped
  const int32_t* text = nullptr;      // [rows]
  const int32_t* position = nullptr;  // [rows]
  uint32_t threshold = 0;
  float scale = 1.0F;
};

struct RowNorm {
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width]
  float eps = 0.0F;
  int64_t width = 0;
};

/// What a backward pass needs of a LayerNorm; null: nothing is kept.
struct NormMemory {
  float* normalized = nullptr;         // [rows, width]
  float* inverse_deviation = nullptr;  // [rows]
};

/// out = LayerNorm(residual + dropout(product + product_bias)).
struct ResidualNorm {
  RowNorm norm;
  RowDropout dropout;
  const float* product = nullptr;
  const float* product_bias = nullptr;
  const float* residual = nullptr;
  NormMemory memory;
  float* out = nullptr;
};
void residual_norm(const ResidualNorm& task, int64_t begin, int64_t end);

/// out = dropout(LayerNorm(word[token] + position_table[position] + token_type)).
struct EmbedNorm {
  RowNorm norm;
  RowDropout dropout;
  const int32_t* tokens = nullptr;
  const float* word = nullptr;
  const float* position_table = nullptr;
  const float* token_type = nullptr;  // one row
  NormMemory memory;
  float* out = nullptr;
};
void embed_norm(const EmbedNorm& task, int64_t begin, int64_t end);

/// The way back through either.
struct NormGradient {
  RowNorm norm;
  RowDropout dropout;
  const float* out_gradient = nullptr;
  const float* normalized = nullptr;
  const float* inverse_deviation = nullptr;
  float* sum_gradient = nullptr;      // [rows, width], of what was normalised
  float* product_gradient = nullptr;  // [rows, width]; null where nothing is dropped: it is sum_gradient then
  // Sums over the range, [width] each; overwritten.
  float* weight_sums = nullptr;
  float* bias_sums = nullptr;
  float* product_bias_sums = nullptr;  // residual_norm only
};
void residual_norm_gradient(const NormGradient& task, int64_t begin, int64_t end);
void embed_norm_gradient(const NormGradient& task, int64_t begin, int64_t end);

/// out = gelu(product + bias), erf form.
struct BiasGelu {
  const float* product = nullptr;
  const float* bias = nullptr;
  int64_t width = 0;
  float* out = nullptr;
};
void bias_gelu(const BiasGelu& task, int64_t begin, int64_t end);

struct BiasGeluGradient {
  const float* product = nullptr;
  const float* bias = nullptr;
  const float* out_gradient = nullptr;
  int64_t width = 0;
  float* product_gradient = nullptr;
  float* bias_sums = nullptr;  // over the range, [width]; overwritten
};
void bias_gelu_gradient(const BiasGeluGradient& task, int64_t begin, int64_t end);

/// Adds rows[order[i]] for i in [begin, end), in that order, to `out` [width].
struct RowSum {
  const float* rows = nullptr;
  const int32_t* order = nullptr;  // null: i itself
  int64_t width = 0;
  float* out = nullptr;
};
void add_rows(const RowSum& task, int64_t begin, int64_t end);

/// The bits of the nearest bf16 of each value, ties to even; infinities and NaN stay what they are.
void round_to_bfloat16(const float* from, int64_t count, uint16_t* to);

}  // namespace rondo::kernels
