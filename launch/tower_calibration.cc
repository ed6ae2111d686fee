#include "launch/tower_calibration.h"

#include <ATen/ops/ones_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <vector>

#include "sharding/base/stopwatch.h"
#include "trainer/text/text_tower.h"

namespace rondo {

double tower_flops_per_second() {
  constexpr int64_t kTexts = 64, kTokens = 12;
  constexpr int32_t kVocabulary = 1000;
  constexpr int kCalls = 50;
  const TextTower tower({.vocabulary_size = kVocabulary}, "text", 1, at::kFloat);
  PackedTexts texts;
  for (int64_t t = 0; t < kTexts; ++t) {
    std::vector<int32_t> tokens(kTokens);
    for (int64_t i = 0; i < kTokens; ++i) {
      tokens[static_cast<size_t>(i)] = static_cast<int32_t>((t * kTokens + i) % kVocabulary);
    }
    append_text(tokens, texts);
  }
  double weights = 0.0;
  for (const NamedParameter& parameter : tower.parameters()) {
    if (parameter.name.find("word_embeddings") == std::string::npos) {
      weights += static_cast<double>(parameter.value.numel());
    }
  }
  double fastest = 0.0;
  for (int call = 0; call < kCalls; ++call) {
    const Stopwatch watch;
    const at::Tensor vectors = tower.encode(texts, {1, call + 1, true});
    torch::autograd::backward({vectors}, {at::ones_like(vectors)});
    fastest = std::max(fastest, 6.0 * weights * kTexts * kTokens / watch.seconds());
  }
  return fastest;
}

}  // namespace rondo
