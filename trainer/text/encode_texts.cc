#include "trainer/text/encode_texts.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "trainer/text/packed_texts.h"

namespace rondo {
namespace {

TokenizedTexts tokenize(const WordPiece& tokenizer, std::span<const std::string> texts, int64_t max_tokens) {
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets{0};
  for (const std::string& text : texts) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    offsets.push_back(static_cast<int64_t>(bytes.size()));
  }
  return tokenizer.encode_batch({bytes, offsets}, {.specials = true, .max_tokens = max_tokens});
}

}  // namespace

at::Tensor encode_texts(const TextTower& tower, const WordPiece& tokenizer, std::span<const std::string> texts,
                        const EncodingBudget& budget) {
  const at::NoGradGuard no_grad;
  const TokenizedTexts tokens = tokenize(tokenizer, texts, budget.max_tokens);
  const auto text = [&](size_t i) {
    return std::span(tokens.ids)
        .subspan(static_cast<size_t>(tokens.offsets[i]),
                 static_cast<size_t>(tokens.offsets[i + 1] - tokens.offsets[i]));
  };
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return text(a).size() > text(b).size(); });

  at::Tensor vectors = at::empty({static_cast<int64_t>(texts.size()), tower.width()}, at::kFloat);
  for (size_t begin = 0; begin < order.size();) {
    PackedTexts batch;
    size_t end = begin;
    do {
      append_text(text(order[end++]), batch);
    } while (end < order.size() &&
             batch.tokens.size() + text(order[end]).size() <= static_cast<size_t>(budget.batch_tokens));
    const at::Tensor encoded = tower.encode(batch, {}).to(at::kFloat);
    for (size_t i = begin; i < end; ++i) {
      vectors[static_cast<int64_t>(order[i])].copy_(encoded[static_cast<int64_t>(i - begin)]);
    }
    begin = end;
  }
  return vectors;
}

}  // namespace rondo
