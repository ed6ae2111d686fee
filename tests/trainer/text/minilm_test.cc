// all-MiniLM-L6-v2, where its folder is at hand: RONDO_TEXT_MODEL, else build/peers/minilm. Skipped without.
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tests/trainer/text/batch_independence.h"
#include "trainer/text/packed_texts.h"
#include "trainer/text/text_folder.h"

namespace rondo {
namespace {

std::filesystem::path model_folder() {
  if (const char* named = std::getenv("RONDO_TEXT_MODEL")) return named;
  const char* source = std::getenv("RONDO_SOURCE_DIR");
  return std::filesystem::path(source != nullptr ? source : ".") / "build" / "peers" / "minilm";
}

class MiniLmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(model_folder() / "model.safetensors")) {
      GTEST_SKIP() << "no model in " << model_folder() << "; RONDO_TEXT_MODEL names another folder";
    }
  }

  /// The vector of one text, not normalised.
  static at::Tensor encode(TextFolder& folder, TextPooling pooling, at::ScalarType dtype) {
    folder.tower.pooling = pooling;
    folder.tower.normalize = false;
    const TextTower tower(folder.tower, "text", 1, dtype);
    load_weights(folder.weights, "text", tower);
    PackedTexts texts;
    append_text(WordPiece(folder.tokenizer.vocabulary, folder.tokenizer.options).encode("What is Deep Learning?"),
                texts);
    return tower.encode(texts, {})[0].to(at::kDouble).contiguous();
  }

  static void expect_start(const at::Tensor& vector, const std::vector<double>& expected) {
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(vector.const_data_ptr<double>()[i], expected[i], 2e-5) << "element " << i;
    }
  }
};

// Computed in fp64 by transformers from the same weights.
TEST_F(MiniLmTest, GivesTheVectorsOfTransformers) {
  TextFolder folder = read_text_folder(model_folder());
  EXPECT_EQ(folder.tower.pooling, TextPooling::kMean);
  EXPECT_TRUE(folder.tower.normalize);
  EXPECT_EQ(folder.max_tokens, 256);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor mean = encode(folder, TextPooling::kMean, dtype);
    expect_start(mean, {-0.5902371, -0.2523185, 0.1496864, 0.0547878, -0.1180400, -0.1672366, -0.2332384, -0.0703206});
    EXPECT_NEAR(mean.norm().item<double>(), 7.5815834, 2e-5);
    const at::Tensor cls = encode(folder, TextPooling::kCls, dtype);
    expect_start(cls, {-0.0235359, -0.5266787, 0.1784779, -0.1466050, -0.0007968, 0.1057141});
  }
}

TEST_F(MiniLmTest, AVectorDoesNotDependOnItsBatch) {
  const TextFolder folder = read_text_folder(model_folder());
  const TextTower tower(folder.tower, "text", 1, at::kFloat);
  load_weights(folder.weights, "text", tower);
  const WordPiece tokenizer(folder.tokenizer.vocabulary, folder.tokenizer.options);
  EXPECT_LT(testing::largest_batch_effect(tower, tokenizer, 1000), 1e-5);
}

}  // namespace
}  // namespace rondo
