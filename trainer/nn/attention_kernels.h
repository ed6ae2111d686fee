#pragma once

#include <cstdint>

/// Attention of short texts in fp32: one text and head at a time, all of it in cache, vectorised; the instruction set
/// is chosen when the program runs. Each call does texts [begin, end), and calls on disjoint ranges may run in
/// parallel.
namespace rondo::kernels {

/// out = dropout(softmax(q k^T / sqrt(head_width))) v for each head of each text.
struct Attention {
  const float* joined = nullptr;     // [rows, 3 * heads * head_width]: query, key, value
  const int64_t* offsets = nullptr;  // [texts + 1]
  int64_t heads = 0;
  int64_t head_width = 0;

  const uint64_t* streams = nullptr;  // [texts], dropout's (DropoutSite); null: nothing is dropped
  uint32_t threshold = 0;
  float scale = 1.0F;  // of what is kept
};

/// `out` is [rows, heads * head_width].
void attend(const Attention& task, float* out, int64_t begin, int64_t end);

/// Gradient of `joined`, [rows, 3 * heads * head_width], from that of `out`. The weights are computed again.
void attend_gradient(const Attention& task, const float* out_gradient, float* joined_gradient, int64_t begin,
                     int64_t end);

}  // namespace rondo::kernels
