#include "trainer/telemetry/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/file_system.h"
#include "trainer/telemetry/error_file.h"
#include "trainer/telemetry/memory_use.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using testing::ScratchFolder;

TEST(RunFolderTest, IsLaidOutAsDesigned) {
  const RunFolder run("runs/a");
  EXPECT_EQ(run.job(), "runs/a/job.textproto");
  EXPECT_EQ(run.metrics(), "runs/a/metrics.jsonl");
  EXPECT_EQ(run.log(7), "runs/a/log/rank-00007.log");
  EXPECT_EQ(run.error(123), "runs/a/error/rank-00123.json");
  EXPECT_EQ(run.checkpoints(), "runs/a/checkpoints");
  EXPECT_EQ(run.index(), "runs/a/index");
}

TEST(RunFolderTest, IsForItsOwnerAlone) {
  const ScratchFolder folder;
  const RunFolder run(folder.path() / "runs/a");
  run.make();
  run.make();  // resume finds it there
  for (const auto& path : {run.root(), run.root() / "log", run.root() / "error"}) {
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_all) << path;
  }
}

TEST(RunFolderTest, TwoRunsInOneSecondDoNotShareAFolder) {
  const ScratchFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const auto first = RunFolder::default_root("shop");
  RunFolder(first).make();
  const auto second = RunFolder::default_root("shop");
  std::filesystem::current_path(before);
  EXPECT_THAT(first.string(), MatchesRegex("runs/shop/[0-9]+T[0-9]+Z"));
  EXPECT_NE(second, first);
}

TEST(RunFolderTest, ForgetsTheErrorsOfAnEarlierAttempt) {
  const ScratchFolder folder;
  const RunFolder run(folder.path() / "a");
  run.make();
  write_error_file(run.error(0), {});
  write_error_file(run.error(12), {});
  std::ofstream(run.log(0)) << "stays";
  run.forget_errors();
  EXPECT_TRUE(std::filesystem::is_empty(run.root() / "error"));
  EXPECT_EQ(read_file(run.log(0)), "stays");
}

TEST(RunFolderTest, AFileInTheWayIsAnError) {
  const ScratchFolder folder;
  std::ofstream(folder.path() / "runs") << "a file";
  try {
    RunFolder(folder.path() / "runs/a").make();
    ADD_FAILURE() << "nothing thrown";
  } catch (const StorageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
    EXPECT_THAT(error.what(), HasSubstr("runs"));
  }
}

TEST(ErrorFileTest, SaysWhoFailedAndWhyWhateverTheBytes) {
  const ScratchFolder folder;
  const auto path = folder.path() / "rank-00001.json";
  write_error_file(path, {1, 7, 74, "no answer \xFF\n from rank 2", "PeerError", "step"});
  const auto object = nlohmann::json::parse(read_file(path));
  EXPECT_EQ(object["rank"], 1);
  EXPECT_EQ(object["step"], 7);
  EXPECT_EQ(object["code"], 74);
  EXPECT_EQ(object["type"], "PeerError");
  EXPECT_EQ(object["phase"], "step");
  EXPECT_THAT(object["message"].get<std::string>(), HasSubstr("\n from rank 2"));
  EXPECT_THAT(object["time"].get<std::string>(), MatchesRegex("....-..-..T..:..:..[.]...Z"));
  EXPECT_NE(object["host"], "");
}

TEST(ErrorFileTest, SaysNothingWhereItCannotBeWritten) { write_error_file("no/such/folder/x.json", {}); }

TEST(ErrorFileTest, NamesTypes) {
  EXPECT_STREQ(error_type_of(ConfigError("")), "ConfigError");
  EXPECT_STREQ(error_type_of(DataError("")), "DataError");
  EXPECT_STREQ(error_type_of(PeerError("")), "PeerError");
  EXPECT_STREQ(error_type_of(StorageError("")), "StorageError");
  EXPECT_STREQ(error_type_of(InternalError("")), "InternalError");
  EXPECT_STREQ(error_type_of(std::runtime_error("")), "exception");
}

TEST(MemoryUseTest, GrowsWithWhatIsWritten) {
  const MemoryUse before = memory_use();
  EXPECT_GT(before.resident_bytes, 1 << 20);
  EXPECT_GE(before.peak_bytes, before.resident_bytes);
  {
    std::vector<char> written(size_t{64} << 20, 'x');
    EXPECT_EQ(written[written.size() / 2], 'x');
    EXPECT_GE(memory_use().resident_bytes, before.resident_bytes + (32 << 20));
  }
  EXPECT_GE(memory_use().peak_bytes, before.resident_bytes + (32 << 20));
}

}  // namespace
}  // namespace rondo
