// import, export and encode, and jobs whose text tower starts from a folder.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sharding/base/error.h"
#include "tests/launch/command_fixture.h"
#include "trainer/storage/file_system.h"
#include "trainer/storage/hdf5_file.h"
#include "trainer/text/packed_texts.h"
#include "trainer/text/text_export.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr int64_t kWidth = 8;

class TextCommandsTest : public testing::CommandFixture {
 protected:
  TextCommandsTest() {
    const TextTowerOptions options{.vocabulary_size = 40,  // more rows than the vocabulary has entries
                                   .hidden_size = kWidth,
                                   .num_hidden_layers = 2,
                                   .num_attention_heads = 2,
                                   .intermediate_size = 12,
                                   .max_position_embeddings = 16,
                                   .hidden_dropout_prob = 0.0,
                                   .initializer_range = 0.3,
                                   .pooling = TextPooling::kMax};
    const TextTower tower(options, "", 5, at::kFloat);
    std::vector<std::string> entries{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "thing"};
    for (int digit = 0; digit < 10; ++digit) {
      entries.push_back(std::to_string(digit));
      entries.push_back("##" + std::to_string(digit));
    }
    const auto files = make_posix_file_system();
    write_text_folder({.tower = options, .weights = weights_of(tower, ""), .max_tokens = 12},
                      WordPiece(Vocabulary(entries)), model(), *files);
  }

  std::string model() const { return path("model"); }

  /// A training of the shop whose text tower starts from the model.
  std::vector<std::string> training(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"train",
                                   "--job",
                                   job(),
                                   "--out",
                                   path("run"),
                                   "--set",
                                   "model.text_beta=1",
                                   "--set",
                                   "text.weights=" + model(),
                                   "--set",
                                   "train.checkpoint_steps=3"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  /// Of the items in the run's index.
  at::Tensor index_vectors() const {
    for (const auto& entry : std::filesystem::directory_iterator(path("run/index"))) {
      if (entry.path().extension() != ".h5") continue;
      const Hdf5Reader index(entry.path());
      const std::vector<float> values = index.read<float>("vectors");
      at::Tensor vectors = at::empty(index.shape("vectors"), at::kFloat);
      std::ranges::copy(values, vectors.mutable_data_ptr<float>());
      return vectors;
    }
    return at::empty({0, 1}, at::kFloat);
  }

  /// Vectors of one text by a folder's tower.
  static at::Tensor vector_of(const std::string& folder_path, const std::string& text) {
    const TextFolder folder = read_text_folder(folder_path);
    const TextTower tower(folder.tower, "", 1, at::kFloat);
    load_weights(folder.weights, "", tower);
    PackedTexts texts;
    append_text(WordPiece(folder.tokenizer.vocabulary, folder.tokenizer.options).encode(text), texts);
    return tower.encode(texts, {});
  }
};

TEST_F(TextCommandsTest, ImportSaysWhatIsThereAndCopiesIt) {
  ASSERT_EQ(run({"import", "--from", model(), "--out", path("copy"), "--json"}), 0);
  const Json said = Json::parse(output_);
  EXPECT_EQ(said["layers"], 2);
  EXPECT_EQ(said["width"], kWidth);
  EXPECT_EQ(said["pooling"], "MAX");
  EXPECT_EQ(said["vocabulary"], 26);
  EXPECT_EQ(said["max_tokens"], 12);
  EXPECT_TRUE(vector_of(path("copy"), "thing 12").equal(vector_of(model(), "thing 12")));
  ASSERT_EQ(run({"import", "--from", path("copy")}), 0);
  EXPECT_THAT(output_, HasSubstr("text { weights: \"" + path("copy") + "\" }"));
  EXPECT_THAT(refusal<ConfigError>({"import", "--from", model(), "--out", path("copy")}), HasSubstr("exists"));
  EXPECT_THAT(refusal<DataError>({"import", "--from", path("none")}), HasSubstr("has no model.safetensors"));
}

TEST_F(TextCommandsTest, ATowerStartsFromAFolderAndNeedsItNoMore) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  // Without steps of consequence the weights are those of the folder.
  ASSERT_EQ(run(training({"--set", "train.optimizer.learning_rate=1e-30"})), 0);
  EXPECT_THAT(read_file(path("run/log/rank-00000.log")), HasSubstr("its projection from the identity\n"));
  const std::string written = read_file(path("run/job.textproto"));
  EXPECT_THAT(written, HasSubstr("hidden_size: 8"));
  EXPECT_THAT(written, HasSubstr("pooling: MAX"));
  EXPECT_THAT(written, HasSubstr("hidden_dropout_prob: 0\n"));

  std::filesystem::rename(model(), path("elsewhere"));
  ASSERT_EQ(run({"export", "--run", path("run"), "--out", path("exported")}), 0);
  const TextFolder before = read_text_folder(path("elsewhere")), after = read_text_folder(path("exported"));
  for (const auto& [name, value] : before.weights) {
    EXPECT_LT((value - after.weights.at(name)).abs().max().item<double>(), 1e-9) << name;
  }
  EXPECT_EQ(after.tower.output_size, 8);
  EXPECT_TRUE(after.tower.normalize);
  EXPECT_EQ(after.tower.pooling, TextPooling::kMax);
  EXPECT_NEAR(vector_of(path("exported"), "thing 3").norm().item<double>(), 1.0, 1e-5);

  write("texts.txt", "thing 3\n");
  ASSERT_EQ(run({"encode", "--run", path("run"), "--texts", path("texts.txt"), "--out", path("run.h5")}), 0);
  const auto encoded = Hdf5Reader(path("run.h5")).read<float>("vectors");
  const at::Tensor of_export = vector_of(path("exported"), "thing 3")[0];
  for (size_t j = 0; j < encoded.size(); ++j) {
    EXPECT_NEAR(encoded[j], of_export[static_cast<int64_t>(j)].item<float>(), 1e-6);
  }

  ASSERT_EQ(run({"evaluate", "--run", path("run")}), 0);
  std::filesystem::remove_all(path("run/index"));
  ASSERT_EQ(run({"recommend", "--run", path("run"), "--user", "u3", "--json"}), 0);
  EXPECT_EQ(Json::parse(output_)["index"], "computed");
  std::filesystem::remove_all(path("run/checkpoints/step-000000006"));
  ASSERT_EQ(run({"train", "--job", path("run/job.textproto"), "--out", path("run"), "--resume"}), 0);
  EXPECT_THAT(read_file(path("run/log/rank-00000.log")), HasSubstr("resuming from"));
}

TEST_F(TextCommandsTest, RefusesAJobThatContradictsItsWeights) {
  EXPECT_THAT(refusal<ConfigError>(training({"--set", "text.hidden_size=16"})),
              HasSubstr("--set text.hidden_size=16: text.hidden_size is 16, but the model in text.weights (" + model() +
                        ") has 8"));
  EXPECT_THAT(refusal<ConfigError>(training({"--set", "text.num_attention_heads=4"})), HasSubstr("has 2"));
  EXPECT_THAT(refusal<ConfigError>(training({"--set", "text.weights=" + path("none")})), HasSubstr("no folder"));
  EXPECT_THAT(refusal<ConfigError>(training({"--set", "text.max_tokens=17"})), HasSubstr("text.max_tokens"));
}

TEST_F(TextCommandsTest, AnItemStartsWithTheVectorThatEncodeGivesItsText) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  // The item vector is the text's alone, and nothing of consequence is learnt.
  const std::vector<std::string> text_alone{
      "--set", "train.optimizer.learning_rate=1e-30", "--set", "model.id_beta=0", "--set", "model.category_beta=0"};
  for (const std::string frozen : {"false", "true"}) {
    std::filesystem::remove_all(path("run"));
    auto words = training({"--set", "text.frozen=" + frozen});
    words.insert(words.end(), text_alone.begin(), text_alone.end());
    ASSERT_EQ(run(words), 0);
    EXPECT_THAT(read_file(path("run/log/rank-00000.log")), HasSubstr("its projection from the identity"));
    const at::Tensor vectors = index_vectors();  // in some order of the items
    ASSERT_EQ(vectors.size(0), kItems);
    for (int item = 0; item < kItems; ++item) {
      const at::Tensor expected = vector_of(model(), "Thing " + std::to_string(item))[0];
      const at::Tensor differences = (vectors - expected / expected.norm()).abs().amax(1);
      EXPECT_LT(differences.min().item<double>(), 1e-5) << item;
    }
  }
}

TEST_F(TextCommandsTest, FrozenTextsAreEncodedOnceAndServe) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  const std::vector<std::string> frozen{"--set", "text.frozen=true",
                                        "--set", "model.history_text=true",
                                        "--set", "model.dim=4",
                                        "--set", "data.hidden_items.fraction=0.3",
                                        "--set", "data.hidden_items.seed=3"};
  ASSERT_EQ(run(training(frozen)), 0);
  const std::string log = read_file(path("run/log/rank-00000.log"));
  EXPECT_THAT(log, HasSubstr("at random: text.projection.weight, text.projection.bias"));
  EXPECT_THAT(log, HasSubstr("12 texts encoded once"));
  EXPECT_THAT(log, HasSubstr("36 of them learn"));  // the projection to 4 numbers
  EXPECT_THAT(read_file(path("run/metrics.jsonl")), HasSubstr("\"event\":\"eval_hidden\""));

  std::filesystem::rename(model(), path("elsewhere"));
  ASSERT_EQ(run({"evaluate", "--run", path("run"), "--json"}), 0);
  const Json said = Json::parse(output_);
  EXPECT_GT(said["hidden"]["hidden"], 0);
  EXPECT_EQ(said["hidden"]["among_all"]["candidates"], kItems);
  ASSERT_EQ(run({"recommend", "--run", path("run"), "--user", "u3", "--json"}), 0);
  std::filesystem::remove_all(path("run/checkpoints/step-000000006"));
  ASSERT_EQ(run({"train", "--job", path("run/job.textproto"), "--out", path("run"), "--resume"}), 0);
  EXPECT_THAT(read_file(path("run/log/rank-00000.log")), HasSubstr("0 texts encoded once"));
  ASSERT_EQ(run({"export", "--run", path("run"), "--out", path("exported")}), 0);
  const TextFolder before = read_text_folder(path("elsewhere")), after = read_text_folder(path("exported"));
  for (const auto& [name, value] : before.weights) EXPECT_TRUE(value.equal(after.weights.at(name))) << name;
}

TEST_F(TextCommandsTest, RefusesFrozenTextsThatSayNothing) {
  EXPECT_THAT(
      refusal<ConfigError>({"train", "--job", job(), "--set", "model.text_beta=1", "--set", "text.frozen=true"}),
      HasSubstr("--set text.frozen=true: text.frozen needs text.weights"));
  EXPECT_THAT(refusal<ConfigError>(training({"--set", "text.frozen=true", "--set", "model.text_beta=0"})),
              HasSubstr("text.frozen needs model.text_beta above 0"));
  EXPECT_THAT(
      refusal<ConfigError>(training({"--set", "text.frozen=true", "--set", "task={ kind: TEXT_CLASSIFICATION }"})),
      HasSubstr("text.frozen is for the texts of items"));
  EXPECT_THAT(refusal<ConfigError>(training({"--set", "data.hidden_items.fraction=1"})),
              HasSubstr("data.hidden_items.fraction must be in [0, 1), got 1"));
}

TEST_F(TextCommandsTest, EncodesAFileOfTexts) {
  write("texts.txt", "thing 1\r\n\nthing 12 3");
  ASSERT_EQ(run({"encode", "--from", model(), "--texts", path("texts.txt"), "--out", path("x.h5")}), 0);
  const Hdf5Reader lines(path("x.h5"));
  ASSERT_EQ(lines.shape("vectors"), (std::vector<int64_t>{3, kWidth}));
  const std::vector<float> vectors = lines.read<float>("vectors");
  const std::vector<std::string> texts{"thing 1", "", "thing 12 3"};
  for (size_t i = 0; i < texts.size(); ++i) {
    const at::Tensor expected = vector_of(model(), texts[i]);
    for (size_t j = 0; j < kWidth; ++j) {
      EXPECT_NEAR(vectors[i * kWidth + j], expected[0][static_cast<int64_t>(j)].item<float>(), 1e-6) << i << " " << j;
    }
  }
  EXPECT_EQ(lines.attribute_text("model"), model());
  EXPECT_EQ(lines.attribute_text("max_tokens"), "12");

  write("texts.jsonl", "{\"t\": \"thing 1\"}\n{\"t\": \"\"}\n{\"t\": \"thing 12 3\"}\n");
  ASSERT_EQ(run({"encode", "--from", model(), "--texts", path("texts.jsonl"), "--column", "t", "--out", path("y.h5")}),
            0);
  EXPECT_EQ(Hdf5Reader(path("y.h5")).read<float>("vectors"), vectors);

  EXPECT_THAT(refusal<ConfigError>({"encode", "--texts", path("texts.txt"), "--out", path("x.npy")}),
              HasSubstr("either --run or --from"));
  EXPECT_THAT(refusal<ConfigError>({"encode", "--from", model(), "--texts", path("texts.txt"), "--out", path("x.npy"),
                                    "--max-tokens", "17"}),
              HasSubstr("at most the positions of the model (16), got 17"));
  EXPECT_THAT(refusal<DataError>({"encode", "--from", model(), "--texts", path("none.txt"), "--out", path("x.npy")}),
              HasSubstr("none.txt"));
  EXPECT_FALSE(std::filesystem::exists(path("x.npy")));
}

TEST_F(TextCommandsTest, ExportNeedsATower) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  ASSERT_EQ(run({"train", "--job", job(), "--out", path("run")}), 0);
  EXPECT_THAT(refusal<ConfigError>({"export", "--run", path("run"), "--out", path("exported")}),
              HasSubstr("holds no text tower"));
  EXPECT_THAT(refusal<ConfigError>({"export", "--run", path("run"), "--out", path("x"), "--format", "onnx"}),
              HasSubstr("--format must be hf"));
}

}  // namespace
}  // namespace rondo
