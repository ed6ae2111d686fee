// Every fault that the double of NCCL can have, in the middle of a training: each rank ends with the documented code,
// within the deadline, leaves its error file, and the earliest file names the cause (DESIGN 10).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "launch/rank_process.h"
#include "launch/run_setup.h"
#include "tests/integration/training_run.h"
#include "tests/support/nccl_ranks.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/file_system.h"
#include "trainer/telemetry/error_file.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::FakeFault;
using ::testing::HasSubstr;
using testing::NcclRanksOptions;
using testing::run_nccl_ranks;
using testing::ScratchFolder;

constexpr int kWorld = 4;

CommunicatorOptions deadlines() {
  CommunicatorOptions options = testing::test_options();
  options.start_deadline = options.step_deadline = milliseconds(1'500);
  return options;
}

struct Case {
  const char* name;
  FakeFault fault;
  ExitCode code;
  const char* cause;  // in the earliest error file
};

std::vector<Case> cases() {
  using Kind = FakeFault::Kind;
  return {{"an init that never ends",
           {.kind = Kind::kInitHangs, .device = 2},
           ExitCode::kIoOrDeadline,
           "ncclCommInitRankConfig was not over after 1500 ms"},
          {"an asynchronous error",
           {.kind = Kind::kAsyncError, .device = 2, .launch = 20},
           ExitCode::kStopped,
           "last error: injected in launch 20"},
          {"a lost process",
           {.kind = Kind::kRemoteAbort, .device = 1, .launch = 33},
           ExitCode::kStopped,
           "last error: rank 1 is gone"},
          {"a device that hangs",
           {.kind = Kind::kHang, .device = 0, .launch = 41},
           ExitCode::kIoOrDeadline,
           "reports no error: a rank is stuck, or a link is down"}};
}

/// Error files by time.
std::multimap<std::string, nlohmann::json> error_files(const RunFolder& run) {
  std::multimap<std::string, nlohmann::json> files;
  for (int rank = 0; rank < kWorld; ++rank) {
    const auto file = nlohmann::json::parse(read_file(run.error(rank)));
    EXPECT_EQ(file["rank"], rank);
    files.emplace(file["time"], file);
  }
  return files;
}

void train_into(const Case& one, const RunFolder& run) {
  const auto write_error = error_writer(run);
  NcclRanksOptions options;
  options.nccl.announce_calls = false;
  options.fault = one.fault;
  options.patience = milliseconds(100);
  options.on_error = [&](int rank, const std::exception& error) {
    const auto* const known = dynamic_cast<const Error*>(&error);
    const auto code = static_cast<int>(known != nullptr ? known->exit_code() : ExitCode::kInternal);
    write_error({rank, Phase::kStep, 0, code, error_type_of(error), error.what()});
  };
  const auto job = testing::tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kSgd, DenseOptimizerKind::kSgd);
  run_nccl_ranks(kWorld, deadlines(), options, [&](NcclCommunicator& comm) {
    comm.set_phase(Phase::kStep);
    testing::run_training(comm, job);
  });
}

TEST(NcclFaultTest, EveryFaultEndsEveryRankWithItsCodeAndAnErrorFile) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    const ScratchFolder folder;
    const RunFolder run(folder.path() / "run");
    run.make();
    const auto start = steady_clock::now();
    try {
      train_into(one, run);
      ADD_FAILURE() << "the fault went unnoticed";
    } catch (const PeerError& error) {
      EXPECT_EQ(error.exit_code(), one.code);
      EXPECT_THAT(error.what(), HasSubstr(one.cause));
    }
    EXPECT_LT(steady_clock::now() - start, seconds(40)) << "the deadline is 1.5 s";
    const auto files = error_files(run);
    EXPECT_EQ(files.size(), static_cast<size_t>(kWorld));
    for (const auto& [time, file] : files) {
      EXPECT_EQ(file["code"], static_cast<int>(one.code)) << file;
      EXPECT_EQ(file["type"], "PeerError") << file;
    }
    EXPECT_THAT(files.begin()->second["message"].get<std::string>(), HasSubstr(one.cause)) << "the earliest";
  }
}

}  // namespace
}  // namespace rondo
