#pragma once

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/random.h"
#include "trainer/text/encode_texts.h"
#include "trainer/text/packed_texts.h"

namespace rondo::testing {

/// Texts of 0, 1, 510 (512 tokens with [CLS] and [SEP]) and more words, and of lengths in between, of a word that is
/// one token and one that may be more.
inline std::vector<std::string> texts_of_awkward_lengths() {
  std::vector<std::string> texts{"", "good"};
  const auto repeated = [](int words, int phase) {
    std::string text;
    for (int i = 0; i < words; ++i) text += (i + phase) % 3 == 0 ? "film " : "good ";
    return text;
  };
  for (const int words : {2, 3, 5, 8, 13, 21, 34, 55}) {
    for (int phase = 0; phase < 3; ++phase) texts.push_back(repeated(words, phase));
  }
  for (const int words : {510, 511, 900}) texts.push_back(repeated(words, 1));
  return texts;
}

/// Largest difference, over the largest value, between a text's vector alone and in `batches` random batches.
inline double largest_batch_effect(const TextTower& tower, const WordPiece& tokenizer, uint64_t batches) {
  const auto texts = texts_of_awkward_lengths();
  std::vector<std::vector<int32_t>> tokens;
  std::vector<at::Tensor> alone;
  for (const std::string& text : texts) {
    tokens.push_back(tokenizer.encode(text, {.specials = true, .max_tokens = 512}));
    PackedTexts one;
    append_text(tokens.back(), one);
    alone.push_back(tower.encode(one, {})[0]);
  }
  EXPECT_EQ(tokens.front().size(), 2U);
  EXPECT_EQ(tokens.back().size(), 512U);
  const CounterRandom random(12, 0, RandomPurpose::kTest);
  double worst = 0.0;
  for (uint64_t batch = 0; batch < batches; ++batch) {
    std::vector<size_t> members;
    PackedTexts packed;
    for (uint64_t i = 0; i <= random.below(8, batch, 0); ++i) {
      const auto most = batch % 50 == 0 ? tokens.size() : tokens.size() - 3;  // long ones now and then: they cost
      members.push_back(random.below(most, batch, i + 1));
      append_text(tokens[members.back()], packed);
    }
    const at::Tensor vectors = tower.encode(packed, {});
    for (size_t i = 0; i < members.size(); ++i) {
      const at::Tensor& expected = alone[members[i]];
      const double scale = std::max(1e-30, expected.abs().max().item<double>());
      worst = std::max(worst, (vectors[static_cast<int64_t>(i)] - expected).abs().max().item<double>() / scale);
    }
  }
  return worst;
}

}  // namespace rondo::testing
