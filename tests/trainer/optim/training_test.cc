#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <vector>

#include "sharding/base/random.h"
#include "trainer/optim/adam_w.h"
#include "trainer/optim/schedule.h"
#include "trainer/text/text_tower.h"

namespace rondo {
namespace {

TEST(TrainingTest, ATowerLearnsWhetherAWordOccurs) {
  const TextTower tower({.vocabulary_size = 30,
                         .hidden_size = 32,
                         .intermediate_size = 64,
                         .max_position_embeddings = 8,
                         .output_size = 1},
                        "text", 5, at::kFloat);
  AdamW optimizer(tower.parameters(), {.learning_rate = 3e-3});
  const CounterRandom random(1, 0, RandomPurpose::kTest);
  constexpr int64_t kSteps = 60;
  std::vector<double> losses;
  for (int64_t step = 0; step < kSteps; ++step) {
    PackedTexts texts;
    std::vector<float> labels;
    for (uint64_t i = 0; i < 32; ++i) {
      std::vector<int32_t> tokens(2 + random.below(7, static_cast<uint64_t>(step), 100 * i));
      for (size_t j = 0; j < tokens.size(); ++j) {
        tokens[j] = static_cast<int32_t>(random.below(30, static_cast<uint64_t>(step), 100 * i + j + 1));
      }
      const bool occurs = i % 2 == 0;
      for (int32_t& token : tokens) token = token == 7 ? 8 : token;
      if (occurs) tokens[tokens.size() / 2] = 7;
      append_text(tokens, texts);
      labels.push_back(occurs ? 1.0F : 0.0F);
    }
    const at::Tensor logits = tower.encode(texts, {.seed = 2, .step = step, .training = true}).squeeze(1);
    const at::Tensor loss = at::binary_cross_entropy_with_logits(logits, at::tensor(labels));
    loss.backward();
    losses.push_back(loss.item<double>());
    const StepVerdict verdict =
        optimizer.step({.step = step, .factor = factor({.warmup_steps = 5}, step, kSteps), .max_gradient_norm = 1.0});
    ASSERT_TRUE(verdict.finite);
    ASSERT_GT(verdict.gradient_norm, 0.0);
  }
  EXPECT_NEAR(losses.front(), 0.693, 0.1);
  EXPECT_LT(losses.back(), 0.1);
}

}  // namespace
}  // namespace rondo
