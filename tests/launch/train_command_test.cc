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

}  // namespace
}  // namespace rondo
