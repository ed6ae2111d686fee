#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sharding/base/error.h"
#include "tests/launch/command_fixture.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class InspectCommandTest : public testing::CommandFixture {
 protected:
  void make_run() {
    ASSERT_EQ(run({"ingest", "--job", job()}), 0);
    ASSERT_EQ(run({"train", "--job", job(), "--out", path("run"), "--set", "train.checkpoint_steps=3"}), 0);
  }

  /// What is said of `folder`, for programs; the code in `code_`.
  Json inspect(const std::string& folder, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"inspect", "--path", path(folder), "--json"};
    words.insert(words.end(), more.begin(), more.end());
    code_ = run(words);
    return Json::parse(output_);
  }

  void damage(const std::string& name) { std::ofstream(path(name), std::ios::in | std::ios::binary) << "damage"; }

  int code_ = -1;
};

TEST_F(InspectCommandTest, DescribesADataset) {
  ASSERT_EQ(run({"ingest", "--job", job(), "--build-vocabulary", "60"}), 0);
  const Json dataset = inspect("dataset");
  EXPECT_EQ(code_, 0);
  EXPECT_EQ(dataset["kind"], "dataset");
  EXPECT_EQ(dataset["users"], kUsers);
  EXPECT_EQ(dataset["items"], kItems);
  EXPECT_EQ(dataset["events"], kUsers * 6 - dataset["duplicates_dropped"].get<int>());
  EXPECT_EQ(dataset["first_time"], "1970-01-01T00:00:00Z");
  EXPECT_EQ(dataset["features"]["kind"], 3);
  EXPECT_EQ(dataset["schema"]["user"], "user");
  EXPECT_EQ(dataset["split"]["kind"], "leave-one-out");
  EXPECT_GT(dataset["vocabulary"]["entries"], 5);
  ASSERT_EQ(dataset["windows"].size(), 1U);
  EXPECT_EQ(dataset["windows"][0]["events"], dataset["events"]);
  EXPECT_EQ(dataset["files"].size(), 2U);
  EXPECT_FALSE(dataset.contains("digests_verified"));
}

TEST_F(InspectCommandTest, VerifiesADataset) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  EXPECT_EQ(inspect("dataset", {"--verify"})["digests_verified"], true);
  damage("dataset/catalog.h5");
  EXPECT_FALSE(inspect("dataset").contains("problem"));  // it was not asked to read
  const Json damaged = inspect("dataset", {"--verify"});
  EXPECT_EQ(code_, static_cast<int>(ExitCode::kIoOrDeadline));
  EXPECT_EQ(damaged["digests_verified"], false);
  EXPECT_THAT(damaged["problem"], HasSubstr("catalog.h5 is not what was written"));
}

TEST_F(InspectCommandTest, DescribesARunAndItsCheckpoints) {
  ASSERT_NO_FATAL_FAILURE(make_run());
  const Json all = inspect("run", {"--verify"});
  EXPECT_EQ(code_, 0);
  EXPECT_EQ(all["kind"], "run");
  EXPECT_TRUE(all["errors"].empty());
  ASSERT_EQ(all["checkpoints"].size(), 2U);
  EXPECT_EQ(all["checkpoints"][0]["name"], "step-000000006");
  EXPECT_EQ(all["checkpoints"][0]["is_latest"], true);
  EXPECT_EQ(all["checkpoints"][1]["is_latest"], false);
  const Json newest = all["checkpoint"];
  EXPECT_EQ(newest["digests_verified"], true);
  EXPECT_EQ(newest["step"], 6);
  EXPECT_EQ(newest["world"], 1);
  ASSERT_EQ(newest["tables"].size(), 2U);
  const Json item = newest["tables"][0];
  EXPECT_EQ(item["name"], "item");
  EXPECT_EQ(item["rows"], kItems);
  EXPECT_EQ(item["dim"], 8);
  EXPECT_EQ(item["placement"], "row_wise");
  EXPECT_EQ(item["optimizer"], "row_wise_adagrad");

  EXPECT_EQ(inspect("run/checkpoints")["checkpoint"]["step"], 6);
  EXPECT_EQ(inspect("run/checkpoints/step-000000003")["step"], 3);
}

TEST_F(InspectCommandTest, DescribesTheIndexOfARun) {
  ASSERT_NO_FATAL_FAILURE(make_run());
  const Json index = inspect("run", {"--verify"})["index"];
  EXPECT_EQ(index["items"], kItems);
  EXPECT_EQ(index["digests_verified"], true);
  ASSERT_EQ(index["files"].size(), 1U);
  damage("run/index/" + index["files"][0]["name"].get<std::string>());
  EXPECT_THAT(inspect("run/index", {"--verify"})["problem"], HasSubstr("is not what was written"));
  EXPECT_EQ(code_, static_cast<int>(ExitCode::kIoOrDeadline));
}

TEST_F(InspectCommandTest, SaysWhatIsWrongWithACheckpoint) {
  ASSERT_NO_FATAL_FAILURE(make_run());
  damage("run/checkpoints/step-000000006/rows-00000.h5");
  EXPECT_EQ(inspect("run")["checkpoint"]["step"], 6);  // of the same size
  const Json all = inspect("run", {"--verify"});
  EXPECT_EQ(code_, static_cast<int>(ExitCode::kIoOrDeadline));
  EXPECT_THAT(all["checkpoints"][0]["problem"], HasSubstr("rows-00000.h5 does not fit its SHA-256"));
  EXPECT_EQ(all["checkpoint"]["step"], 3);  // what a resume would read

  std::filesystem::remove(path("run/checkpoints/step-000000003/MANIFEST"));
  EXPECT_THAT(inspect("run/checkpoints/step-000000003")["problem"], HasSubstr("MANIFEST is missing"));
  EXPECT_EQ(code_, static_cast<int>(ExitCode::kIoOrDeadline));
}

TEST_F(InspectCommandTest, SpeaksToPeopleInTables) {
  ASSERT_NO_FATAL_FAILURE(make_run());
  ASSERT_EQ(run({"inspect", "--path", path("run")}), 0);
  EXPECT_THAT(output_, ::testing::ContainsRegex("name +rows +dim +type +keys +placement"));
  EXPECT_THAT(output_, ::testing::ContainsRegex("item +12 +8 +float32 +hashed +row_wise"));
}

TEST_F(InspectCommandTest, SaysWhatItExpected) {
  EXPECT_THAT(refusal<DataError>({"inspect", "--path", path("nowhere")}),
              HasSubstr("expected a dataset (dataset.textproto), a checkpoint (MANIFEST)"));
}

}  // namespace
}  // namespace rondo
