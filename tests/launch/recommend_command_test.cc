#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sharding/base/error.h"
#include "tests/launch/command_fixture.h"

namespace rondo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class RecommendCommandTest : public testing::CommandFixture {
 protected:
  void SetUp() override {
    ASSERT_EQ(run({"ingest", "--job", job()}), 0);
    ASSERT_EQ(train({"--set", "train.checkpoint_steps=3"}), 0);
  }

  int train(const std::vector<std::string>& more) {
    std::vector<std::string> words{"train", "--job", job(), "--out", path("run")};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }

  static std::vector<std::string> words_of(const std::string& run, const std::vector<std::string>& question) {
    std::vector<std::string> words{"recommend", "--run", run, "--json", "--top", "5"};
    words.insert(words.end(), question.begin(), question.end());
    return words;
  }

  Json recommend(const std::vector<std::string>& question) {
    EXPECT_EQ(run(words_of(path("run"), question)), 0);
    return Json::parse(output_);
  }

  void remove_index() { std::filesystem::remove_all(path("run/index")); }

  static void expect_same_items(const Json& got, const Json& expected) {
    ASSERT_EQ(got["items"].size(), expected["items"].size());
    for (size_t i = 0; i < got["items"].size(); ++i) {
      EXPECT_EQ(got["items"][i]["item"], expected["items"][i]["item"]) << i;
      EXPECT_EQ(got["items"][i]["title"], expected["items"][i]["title"]) << i;
      EXPECT_NEAR(got["items"][i]["score"], expected["items"][i]["score"].get<double>(), 1e-6) << i;
    }
  }
};

TEST_F(RecommendCommandTest, UsesTheIndexOfTheRun) {
  const Json stored = recommend({"--user", "u3"});
  EXPECT_EQ(stored["index"], "stored");
  EXPECT_EQ(stored["by"], "model");
  EXPECT_EQ(stored["history"].size(), 6U);
  EXPECT_EQ(stored["history"][0]["item"], "i3");  // 3 * 5 % 12, the oldest
  EXPECT_EQ(stored["items"].size(), 5U);

  remove_index();
  const Json computed = recommend({"--user", "u3"});
  EXPECT_EQ(computed["index"], "computed");
  expect_same_items(computed, stored);
  EXPECT_EQ(recommend({"--user", "u3"})["index"], "stored");  // and is kept
}

TEST_F(RecommendCommandTest, NeedsNoDatasetForAHistory) {
  const Json with = recommend({"--history", "i1,i4"});
  std::filesystem::rename(path("dataset"), path("elsewhere"));
  const Json without = recommend({"--history", "i1,i4"});
  EXPECT_EQ(without["index"], "stored");
  EXPECT_EQ(without["history"][1]["title"], "Thing 4");
  expect_same_items(without, with);
  EXPECT_THAT(refusal<DataError>(words_of(path("run"), {"--history", "i1,ix"})), HasSubstr("has no item \"ix\""));
  EXPECT_THAT(refusal<DataError>(words_of(path("run"), {"--user", "u3"})),
              AllOf(HasSubstr("--set data.dataset=DIR"), HasSubstr("--history")));
  remove_index();
  EXPECT_THAT(refusal<DataError>(words_of(path("run"), {"--history", "i1"})), HasSubstr("rondo evaluate --run"));
}

TEST_F(RecommendCommandTest, RefusesAnIndexThatIsStaleUntilItIsMadeAgain) {
  std::filesystem::copy(path("run/index"), path("old"));
  ASSERT_EQ(train({"--resume", "--set", "train.steps=9"}), 0);
  EXPECT_EQ(recommend({"--user", "u3"})["checkpoint"], "step-000000009");

  remove_index();
  std::filesystem::rename(path("old"), path("run/index"));
  EXPECT_THAT(refusal<ConfigError>(words_of(path("run"), {"--user", "u3"})),
              AllOf(HasSubstr("is stale: it was made from another tower"), HasSubstr("rondo evaluate makes it again")));
  ASSERT_EQ(run({"evaluate", "--run", path("run")}), 0);
  EXPECT_EQ(recommend({"--user", "u3"})["index"], "stored");

  ASSERT_EQ(run({"ingest", "--job", job(), "--append", path("dataset"), "--set",
                 "schema.event_file.path=" + write("more.csv", "user,item,time\nu3,i99,90000\n")}),
            0);
  EXPECT_THAT(refusal<ConfigError>(words_of(path("run"), {"--user", "u3"})), HasSubstr("another catalogue"));
}

TEST_F(RecommendCommandTest, AnotherCheckpointHasItsOwnVectors) {
  const Json earlier = recommend({"--user", "u3", "--checkpoint", "step-000000003"});
  EXPECT_EQ(earlier["index"], "computed");
  EXPECT_EQ(earlier["checkpoint"], "step-000000003");
  EXPECT_EQ(recommend({"--user", "u3"})["index"], "stored");  // still that of the newest
}

TEST_F(RecommendCommandTest, AnotherJobNeitherUsesNorReplacesTheIndex) {
  const Json stored = recommend({"--user", "u3"});
  const Json other = recommend({"--user", "u3", "--set", "model.category_beta=0"});
  EXPECT_EQ(other["index"], "computed");
  EXPECT_NE(other["items"], stored["items"]);
  ASSERT_EQ(run({"evaluate", "--run", path("run"), "--set", "model.category_beta=0"}), 0);
  EXPECT_EQ(recommend({"--user", "u3"}), stored);
}

TEST_F(RecommendCommandTest, SaysWhyItFallsBackToPopularity) {
  const Json unknown = recommend({"--user", "nobody"});
  EXPECT_EQ(unknown["by"], "popularity");
  EXPECT_EQ(unknown["why"], "the user is unknown");
  EXPECT_EQ(unknown["items"].size(), 5U);
  const Json early = recommend({"--user", "u3", "--at", "1"});
  EXPECT_EQ(early["why"], "the user has no history before this time");
  EXPECT_EQ(early["items"], unknown["items"]);
}

}  // namespace
}  // namespace rondo
