#include "trainer/text/encode_texts.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/trainer/text/batch_independence.h"

namespace rondo {
namespace {

class EncodeTextsTest : public ::testing::Test {
 protected:
  WordPiece tokenizer_{Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "fi", "##lm"})};
  TextTower tower_{{.vocabulary_size = 7,
                    .hidden_size = 96,
                    .num_hidden_layers = 2,
                    .num_attention_heads = 4,
                    .intermediate_size = 200,
                    .initializer_range = 0.2},
                   "",
                   3,
                   at::kFloat};
};

TEST_F(EncodeTextsTest, AVectorDoesNotDependOnItsBatch) {
  EXPECT_LT(testing::largest_batch_effect(tower_, tokenizer_, 1000), 1e-5);
}

TEST_F(EncodeTextsTest, GivesTheVectorsOfTheTowerInOrder) {
  const auto texts = testing::texts_of_awkward_lengths();
  const EncodingBudget budget{.max_tokens = 300, .batch_tokens = 100};
  const at::Tensor vectors = encode_texts(tower_, tokenizer_, texts, budget);
  ASSERT_EQ(vectors.sizes(), at::IntArrayRef({static_cast<int64_t>(texts.size()), 96}));
  for (size_t i = 0; i < texts.size(); ++i) {
    PackedTexts one;
    append_text(tokenizer_.encode(texts[i], {.specials = true, .max_tokens = 300}), one);
    const at::Tensor expected = tower_.encode(one, {})[0];
    EXPECT_LT((vectors[static_cast<int64_t>(i)] - expected).abs().max().item<double>(), 1e-5) << "text " << i;
  }
  EXPECT_FALSE(vectors.requires_grad());
  EXPECT_EQ(encode_texts(tower_, tokenizer_, {}, budget).sizes(), at::IntArrayRef({0, 96}));
}

}  // namespace
}  // namespace rondo
