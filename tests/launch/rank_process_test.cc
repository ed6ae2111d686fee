#include "launch/rank_process.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "launch/run_setup.h"
#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using testing::ScratchFolder;

/// What rank 0 leaves behind when `body` throws.
template <typename Body>
nlohmann::json error_file_of(const Body& body) {
  const ScratchFolder folder;
  const RunFolder run(folder.path() / "run");
  run.make();
  EXPECT_ANY_THROW(run_as_rank({.communication = {}, .threads = 1}, body, error_writer(run)));
  return nlohmann::json::parse(read_file(run.error(0)));
}

TEST(RankProcessTest, AnErrorFileSaysWhatFailedWhereAndWhen) {
  const nlohmann::json start = error_file_of([](RankProcess&) { throw DataError("no such file"); });
  EXPECT_EQ(start["type"], "DataError");
  EXPECT_EQ(start["phase"], "start");
  EXPECT_EQ(start["step"], 0);
  EXPECT_EQ(start["code"], static_cast<int>(ExitCode::kBadData));
  EXPECT_EQ(start["message"], "no such file");
  EXPECT_TRUE(start["time"].get<std::string>().ends_with("Z"));

  const nlohmann::json step = error_file_of([](RankProcess& process) {
    process.beat(Phase::kStep, 7);
    throw ConfigError("diverged");
  });
  EXPECT_EQ(step["type"], "ConfigError");
  EXPECT_EQ(step["phase"], "step");
  EXPECT_EQ(step["step"], 7);

  const nlohmann::json checkpoint = error_file_of([](RankProcess& process) {
    process.beat(Phase::kCheckpoint, 8);
    throw StorageError("full", ExitCode::kCannotCreate);
  });
  EXPECT_EQ(checkpoint["type"], "StorageError");
  EXPECT_EQ(checkpoint["phase"], "checkpoint");
  EXPECT_EQ(checkpoint["code"], static_cast<int>(ExitCode::kCannotCreate));

  const nlohmann::json evaluation = error_file_of([](RankProcess& process) {
    process.beat(Phase::kEvaluation, 9);
    throw std::runtime_error("a library");
  });
  EXPECT_EQ(evaluation["type"], "exception");
  EXPECT_EQ(evaluation["phase"], "evaluation");
  EXPECT_EQ(evaluation["code"], static_cast<int>(ExitCode::kInternal));
}

TEST(RankProcessTest, ADeviceThatCannotBeHadIsRefusedBeforeAnythingBegins) {
  const auto run_on = [](DeviceWish device) {
    int runs = 0;
    run_as_rank(
        {.communication = {}, .threads = 1, .device = device}, [&](RankProcess&) { ++runs; },
        [](const RankFailure&) {});
    return runs;
  };
  EXPECT_EQ(run_on(DeviceWish::kAuto), 1);
  EXPECT_EQ(run_on(DeviceWish::kCpu), 1);
  try {
    run_on(DeviceWish::kCuda);
    ADD_FAILURE() << "nothing thrown";
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    const std::string text = error.what();
    EXPECT_EQ(text.find("device: CUDA cannot be had: "), 0U) << text;
    EXPECT_NE(text.find("device: AUTO or CPU runs on the processor"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace rondo
