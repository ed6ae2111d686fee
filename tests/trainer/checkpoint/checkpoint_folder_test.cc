#include "trainer/checkpoint/checkpoint_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sharding/base/check.h"
#include "tests/support/scratch_folder.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CheckpointNameTest, HoldsTheStep) {
  EXPECT_EQ(checkpoint_name(1200), "step-000001200");
  EXPECT_EQ(step_of("step-000001200"), 1200);
  EXPECT_EQ(step_of("step-000001200.old"), 1200);
  EXPECT_EQ(step_of(checkpoint_name(123'456'789'012)), 123'456'789'012);
  for (const char* name :
       {"step-1200", "step-000001200.tmp.7", "step-000001200.trash", "step-00000120x", "step--00001200",
        "step-000001200/..", "../step-000001200", "step-0000000000000000001", "STEP-000001200", ""}) {
    EXPECT_FALSE(step_of(name)) << name;
  }
}

class CheckpointFolderTest : public ::testing::Test {
 protected:
  void make(const std::vector<std::string>& names) {
    for (const std::string& name : names) std::filesystem::create_directory(folder_ / name);
  }
  void latest(const std::string& text) { std::ofstream(folder_ / "LATEST") << text; }

  testing::ScratchFolder scratch_;
  std::filesystem::path folder_ = scratch_.path();
};

TEST_F(CheckpointFolderTest, NothingIsThereAtFirst) {
  EXPECT_FALSE(has_checkpoints(folder_));
  EXPECT_FALSE(has_checkpoints(folder_ / "none"));
  make({"step-000000007.tmp.12", "step-000000006.trash", "other"});
  EXPECT_FALSE(has_checkpoints(folder_));
  EXPECT_THAT(list_checkpoint_names(folder_).problem, IsEmpty());
  latest("step-000000007\n");
  EXPECT_TRUE(has_checkpoints(folder_));
}

TEST_F(CheckpointFolderTest, LatestComesFirstThenEarlierThenLaterSteps) {
  make({"step-000000010", "step-000000030", "step-000000020", "step-000000020.old", "step-000000040",
        "step-000000050.tmp.1"});
  latest("step-000000030\n");
  const CheckpointNames found = list_checkpoint_names(folder_);
  EXPECT_THAT(found.names, ElementsAre("step-000000030", "step-000000020", "step-000000020.old", "step-000000010",
                                       "step-000000040"));
  EXPECT_EQ(found.latest, "step-000000030");
  EXPECT_THAT(found.problem, IsEmpty());
}

TEST_F(CheckpointFolderTest, ABadLatestIsNamedAndTheNewestComesFirst) {
  make({"step-000000010", "step-000000030", "step-000000020"});
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "does not hold the name"},
      {"step-000000040\n", "LATEST names step-000000040, which is missing"},
      {"../../x", "does not hold the name"},
      {"/etc/passwd\n", "does not hold the name"},
      {"step-000000010/../../x", "does not hold the name"},
      {std::string("step-000000010\0", 15), "does not hold the name"},
      {"step-000000010\n\n", "does not hold the name"},
      {std::string(100'000, 'x'), "larger than"},
  };
  for (const auto& [text, message] : cases) {
    latest(text);
    const CheckpointNames found = list_checkpoint_names(folder_);
    EXPECT_THAT(found.names, ElementsAre("step-000000030", "step-000000020", "step-000000010")) << message;
    EXPECT_THAT(found.problem, HasSubstr(message));
    EXPECT_THAT(found.latest, IsEmpty());
  }
  std::filesystem::remove(folder_ / "LATEST");
  EXPECT_THAT(list_checkpoint_names(folder_).problem, HasSubstr("LATEST is missing"));
  make({"LATEST"});
  EXPECT_THAT(list_checkpoint_names(folder_).problem, HasSubstr("LATEST"));
}

TEST_F(CheckpointFolderTest, DescribesWhatItCannotUse) {
  make({"step-000000010"});
  const CheckpointDescription described = describe_checkpoint(folder_ / "step-000000010", true);
  EXPECT_FALSE(described.manifest);
  EXPECT_THAT(described.problem, HasSubstr("MANIFEST is missing"));
  EXPECT_THROW(describe_checkpoint(folder_ / "step-000000011", true), DataError);
}

}  // namespace
}  // namespace rondo
