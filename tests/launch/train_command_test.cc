#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sharding/base/error.h"
#include "tests/launch/command_fixture.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

class TrainCommandTest : public testing::CommandFixture {
 protected:
  void SetUp() override { ASSERT_EQ(run({"ingest", "--job", job()}), 0); }

  std::vector<std::string> words(const std::vector<std::string>& more) const {
    std::vector<std::string> all{"train", "--job", job(), "--out", path("run")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  std::string error_file() const { return path("run/error/rank-00000.json"); }
};

TEST_F(TrainCommandTest, ErrorFilesAreOfTheLatestAttempt) {
  const std::vector<std::string> diverges{"--set", "tables.item.optimizer.learning_rate=1e30", "--set",
                                          "model.interaction=DOT"};
  EXPECT_THAT(refusal<ConfigError>(words(diverges)), HasSubstr("training diverged"));
  const auto error = nlohmann::json::parse(read_file(error_file()));
  EXPECT_EQ(error["type"], "ConfigError");
  EXPECT_EQ(error["phase"], "step");
  EXPECT_GT(error["step"], 0);
  EXPECT_THAT(error["message"], HasSubstr("training diverged"));
  ASSERT_EQ(run(words({"--resume"})), 0);
  EXPECT_FALSE(std::filesystem::exists(error_file()));
}

TEST_F(TrainCommandTest, ARunThatIsRefusedLeavesNoErrorInTheFolderOfAnother) {
  ASSERT_EQ(run(words({})), 0);
  EXPECT_THAT(refusal<ConfigError>(words({})), HasSubstr("holds checkpoints of an earlier run"));
  EXPECT_FALSE(std::filesystem::exists(error_file()));
}

TEST_F(TrainCommandTest, SaysWhatItResumesAndWhatItDropped) {
  ASSERT_EQ(run(words({"--set", "train.checkpoint_steps=3"})), 0);
  std::filesystem::create_directories(path("run/checkpoints/step-000000009.tmp.77"));
  std::filesystem::remove(path("run/checkpoints/step-000000006/MANIFEST"));
  ASSERT_EQ(run(words({"--resume"})), 0);
  const std::string log = read_file(path("run/log/rank-00000.log"));
  EXPECT_THAT(log, HasSubstr("run/checkpoints/step-000000009.tmp.77, which a save"));
  EXPECT_THAT(log, HasSubstr("checkpoint passed over: "));
  EXPECT_THAT(log, HasSubstr("step-000000003: step 3 of 6, epoch 1, next example 0; saved by 1 rank, now 1 rank"));
  EXPECT_THAT(log, HasSubstr("the steps behind 3 are done again"));

  ASSERT_EQ(run(words({"--resume"})), 0);
  EXPECT_THAT(read_file(path("run/log/rank-00000.log")), HasSubstr("all steps are done: nothing is left to train"));
}

}  // namespace
}  // namespace rondo
