#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

#include "trainer/text/text_tower.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// How many texts are encoded at once.
struct EncodingBudget {
  int64_t max_tokens = 512;     // a text is cut to this many, [CLS] and [SEP] included; at most the tower's positions
  int64_t batch_tokens = 4096;  // of texts encoded together, if more than one; bounds the memory of activations
};

/// Vectors [texts, width], fp32, in the order of the texts; what the tower gives each of them alone, but for the order
/// of sums in products. Texts of like length go together. No gradients.
at::Tensor encode_texts(const TextTower& tower, const WordPiece& tokenizer, std::span<const std::string> texts,
                        const EncodingBudget& budget);

}  // namespace rondo
