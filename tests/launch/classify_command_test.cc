// A text classification from its files to an answer, and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sharding/base/error.h"
#include "tests/launch/command_fixture.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

class ClassifyCommandTest : public testing::CommandFixture {
 protected:
  void SetUp() override {
    std::string rows = "text,label\n";
    for (int i = 0; i < 60; ++i) {
      const std::string number = std::to_string(i);
      rows += "fine lovely good " + number + ",up\nbad awful dull " + number + ",down\n";
    }
    write("texts.csv", rows);
    write("texts.textproto", job_text("schema { example_file { path: \"" + path("texts.csv") +
                                      "\" } examples { text: \"text\" label: \"label\" } }\n"));
  }

  std::string job_text(const std::string& schema) const {
    return "name: \"texts\"\nthreads: 1\ntask { kind: TEXT_CLASSIFICATION }\n" + schema + "data { dataset: \"" +
           path("texts") +
           "\" }\n"
           "text { max_tokens: 16 hidden_size: 16 num_hidden_layers: 1 num_attention_heads: 2 intermediate_size: 32 }\n"
           "train { epochs: 6 global_batch: 8 warmup_steps: 2 optimizer { learning_rate: 0.005 } evaluate_epochs: 1 "
           "}\n";
  }

  std::vector<std::string> with_job(std::vector<std::string> words, const std::vector<std::string>& more = {}) const {
    words.insert(words.end(), {"--job", path("texts.textproto")});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  void train() {
    ASSERT_EQ(run(with_job({"ingest", "--build-vocabulary", "100"})), 0);
    ASSERT_EQ(run(with_job({"train", "--out", path("run")})), 0);
  }
};

TEST_F(ClassifyCommandTest, TrainsEvaluatesAndAnswersFromTheCheckpointAlone) {
  train();
  EXPECT_THAT(output_, HasSubstr("test: 12 examples, 2 classes"));
  const std::string lines = read_file(path("run/metrics.jsonl"));
  EXPECT_THAT(lines, HasSubstr("\"token_imbalance\""));
  EXPECT_THAT(lines, HasSubstr("\"split\":\"valid\""));
  ASSERT_EQ(run({"evaluate", "--run", path("run"), "--json"}), 0);
  const auto report = nlohmann::json::parse(output_);
  EXPECT_EQ(report["metrics"]["accuracy"], 1.0);
  EXPECT_EQ(report["labels"], nlohmann::json::parse("[\"down\",\"up\"]"));

  std::filesystem::remove_all(path("texts"));
  std::filesystem::remove(path("texts.csv"));
  write("questions.txt", "a lovely good thing\nawful and dull\n");
  ASSERT_EQ(run({"classify", "--run", path("run"), "--file", path("questions.txt"), "--json"}), 0);
  const auto answers = nlohmann::json::parse(output_);
  EXPECT_EQ(answers["texts"][0]["label"], "up");
  EXPECT_EQ(answers["texts"][1]["label"], "down");
  EXPECT_EQ(answers["texts"][1]["line"], 2);
  const auto& probabilities = answers["texts"][0]["probabilities"];
  EXPECT_NEAR(probabilities["up"].get<double>() + probabilities["down"].get<double>(), 1.0, 1e-12);
  ASSERT_EQ(run({"classify", "--checkpoint", answers["checkpoint"].get<std::string>(), "--text", "good"}), 0);
  EXPECT_THAT(output_, ::testing::StartsWith("up 0."));
}

TEST_F(ClassifyCommandTest, RefusesWhatItCannotAnswer) {
  train();
  EXPECT_THAT(refusal<ConfigError>({"classify", "--run", path("run"), "--text", " "}),
              HasSubstr("--text must not be empty"));
  EXPECT_THAT(refusal<ConfigError>({"classify", "--run", path("run")}), HasSubstr("needs --text or --file"));
  EXPECT_THAT(refusal<ConfigError>({"classify", "--text", "x"}), HasSubstr("needs --run or --checkpoint"));
  const std::string file = write("gap.txt", "one\n \nthree\n");
  EXPECT_THAT(refusal<DataError>({"classify", "--run", path("run"), "--file", file}),
              HasSubstr("gap.txt:2: expected a text"));
  EXPECT_THAT(refusal<DataError>({"classify", "--run", path("nowhere"), "--text", "x"}), HasSubstr("no checkpoint in"));
}

TEST_F(ClassifyCommandTest, RefusesJobsThatDoNotFitTheirDataset) {
  ASSERT_EQ(run(with_job({"ingest"})), 0);
  EXPECT_THAT(refusal<ConfigError>(with_job({"train", "--out", path("run")})), HasSubstr("has none"));
  ASSERT_EQ(run(with_job({"ingest", "--overwrite", "--build-vocabulary", "100"})), 0);
  const auto refused = [&](const std::string& assignment) {
    return refusal<ConfigError>(with_job({"train", "--out", path("run"), "--set", assignment}));
  };
  EXPECT_THAT(refused("task={ kind: TEXT_CLASSIFICATION classification { class_weight { label: \"upp\" } } }"),
              HasSubstr("no class \"upp\"; did you mean \"up\"?"));
  EXPECT_THAT(refused("task={ kind: TEXT_CLASSIFICATION classification { select_by: \"acuracy\" } }"),
              HasSubstr("did you mean \"accuracy\"?"));
  EXPECT_THAT(refused("task={ kind: TEXT_CLASSIFICATION classification { dropout: 1 } }"),
              HasSubstr("dropout must be in [0, 0.99]"));
  EXPECT_THAT(refusal<ConfigError>({"train", "--job", job(), "--set", "train.patience=2"}),
              HasSubstr("patience is for text classification"));
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  EXPECT_THAT(refusal<DataError>(with_job({"train", "--out", path("run"), "--set", "data.dataset=" + path("dataset")})),
              HasSubstr("it is the dataset of a shop"));
}

}  // namespace
}  // namespace rondo
