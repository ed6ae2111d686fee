// The doubles of CUDA and NCCL between the processes of mpirun are as strict as between threads (nccl_double_test): the
// rules that take two sides, each broken on purpose, and each fault.
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/sharding/comm/double_rank.h"
#include "tests/support/nccl_processes.h"

namespace rondo {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using testing::double_run;
using testing::DoubleOfProcess;
using testing::DoubleRank;
using ::testing::ElementsAre;
using testing::FakeFault;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kCompute;
using testing::NcclRanksOptions;

constexpr CallTag kSaid{Channel::kControl, "said by the test"};

std::vector<std::string> violations_of(const std::function<void(DoubleRank&, const DoubleOfProcess&)>& body,
                                       milliseconds patience = milliseconds(500)) {
  const auto verdict = double_run()(patience, [&](const DoubleOfProcess& process) {
    DoubleRank rank(process.machine, process.nccl, process.rank);
    process.side.barrier(kSaid);  // nobody breaks a rule while a peer still waits for its communicator
    body(rank, process);
  });
  EXPECT_FALSE(verdict.failed);
  return verdict.violations;
}

TEST(NcclProcessesTest, LetsARightProgramPass) {
  const auto violations = violations_of([](DoubleRank& rank, const DoubleOfProcess& process) {
    testing::sum_in_order(rank);
    EXPECT_EQ(rank.host[7], static_cast<float>(process.world * (process.world + 1) / 2));
  });
  EXPECT_THAT(violations, IsEmpty());
}

TEST(NcclProcessesTest, AnOperationRunsWhenAnotherProcessWaitsForIt) {
  const auto violations = violations_of([](DoubleRank& rank, const DoubleOfProcess& process) {
    rank.host.fill(1.0F);
    float* const memory = rank.device(8);
    rank.copy(memory, rank.host.data(), 8, rank.stream);  // lazy: of host memory, as it will be then
    rank.sum(memory, 8);
    rank.host.fill(static_cast<float>(rank.rank + 2));
    process.side.barrier(kSaid);
    if (rank.rank > 0) process.side.barrier(kSaid);  // calls nothing while rank 0 waits
    rank.wait(kCompute, rank.stream);
    rank.copy(rank.host.data(), memory, 8, kCompute);
    if (rank.rank == 0) process.side.barrier(kSaid);
    EXPECT_EQ(rank.host[0], static_cast<float>(process.world * (process.world + 3) / 2))
        << "an eager stream would have added the ones";
  });
  EXPECT_THAT(violations, IsEmpty());
}

TEST(NcclProcessesTest, AMissingEventAfterTheOperationReadsStaleData) {
  const auto violations = violations_of([](DoubleRank& rank, const DoubleOfProcess& process) {
    testing::read_before_the_sum(rank, [&] { process.side.barrier(kSaid); });
  });
  EXPECT_THAT(violations, Contains(HasSubstr("device 1: no event orders launch 0 on stream 1")))
      << "every process knows of every violation";
}

TEST(NcclProcessesTest, CountsThatDifferAreNamedOnBothSides) {
  const auto violations = violations_of([](DoubleRank& rank, const DoubleOfProcess& process) {
    rank.sum(rank.device(8), rank.rank == 0 ? 8 : 7);
    rank.wait(kCompute, rank.stream);
    process.side.barrier(kSaid);
    EXPECT_EQ(rank.settle(rank.comm), NcclResult::kInvalidUsage);
    EXPECT_THAT(rank.nccl.last_error(rank.comm), HasSubstr("rank 0 all-reduces 8 float32"));
    EXPECT_THAT(rank.nccl.last_error(rank.comm), HasSubstr("all-reduces 7 float32"));
  });
  EXPECT_FALSE(violations.empty());
}

TEST(NcclProcessesTest, GroupsThatDiffer) {
  const auto violations = violations_of([](DoubleRank& rank, const DoubleOfProcess&) {
    float* const memory = rank.device(8);
    if (rank.rank == 0) rank.nccl.group_start();
    for (int root = 0; root < 2; ++root) {
      rank.nccl.reduce(memory, memory, 4, NcclType::kFloat32, root, rank.comm, rank.stream);
      if (rank.rank > 0) rank.settle(rank.comm);
    }
    if (rank.rank == 0) rank.nccl.group_end();
    rank.wait(kCompute, rank.stream);
  });
  EXPECT_THAT(violations, Contains(HasSubstr("in a group of 2")));
}

/// Each rank sends to the next and receives from the one before.
void pass_on(DoubleRank& rank, int world, bool grouped) {
  float* const memory = rank.device(16);
  if (grouped) rank.nccl.group_start();
  rank.nccl.send(memory, 32, NcclType::kBytes, (rank.rank + 1) % world, rank.comm, rank.stream);
  if (!grouped) rank.settle(rank.comm);
  rank.nccl.recv(memory + 8, 32, NcclType::kBytes, (rank.rank + world - 1) % world, rank.comm, rank.stream);
  if (grouped) rank.nccl.group_end();
  rank.wait(kCompute, rank.stream);
}

TEST(NcclProcessesTest, AnUngroupedRingDeadlocksAndIsReportedEverywhere) {
  const auto run = [](bool grouped) {
    return violations_of(
        [&](DoubleRank& rank, const DoubleOfProcess& process) { pass_on(rank, process.world, grouped); },
        /*patience=*/seconds(60));
  };
  EXPECT_THAT(run(true), IsEmpty());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(run(false), ElementsAre(HasSubstr("deadlock: device 0 in a wait for an event; device 1 in")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(50)) << "a verdict, not the end of patience";
}

struct FaultCase {
  const char* name;
  FakeFault fault;
  ExitCode code;
  const char* cause;
};

TEST(NcclProcessesTest, EveryFaultEndsEveryProcessWithItsCode) {
  using Kind = FakeFault::Kind;
  const FaultCase cases[] = {
      {"init", {.kind = Kind::kInitHangs, .device = 1}, ExitCode::kIoOrDeadline, "was not over after 1500 ms"},
      {"error", {.kind = Kind::kAsyncError, .device = 1, .launch = 4}, ExitCode::kStopped, "injected in launch 4"},
      {"lost", {.kind = Kind::kRemoteAbort, .device = 0, .launch = 5}, ExitCode::kStopped, "rank 0 is gone"},
      {"hang", {.kind = Kind::kHang, .device = 0, .launch = 3}, ExitCode::kIoOrDeadline, "a rank is stuck"}};
  CommunicatorOptions deadlines = testing::test_options();
  deadlines.start_deadline = deadlines.step_deadline = milliseconds(1'500);
  for (const FaultCase& one : cases) {
    SCOPED_TRACE(one.name);
    NcclRanksOptions options;
    options.fault = one.fault;
    options.patience = milliseconds(100);
    int calls = 0;
    try {
      testing::nccl_runner().run(0, deadlines, options, [&](const testing::RankOfDouble& rank) {
        NcclCommunicator& comm = rank.comm;
        comm.set_phase(Phase::kStep);
        const at::Tensor values = at::full({8}, comm.rank() + 1);
        for (; calls < 10; ++calls) comm.all_reduce(values, {Channel::kGradients, "values"})->wait();
      });
      ADD_FAILURE() << "the fault went unnoticed";
    } catch (const PeerError& error) {
      EXPECT_EQ(error.exit_code(), one.code);
      EXPECT_THAT(error.what(), HasSubstr(one.cause));
    }
    EXPECT_LT(calls, 10);
  }
}

TEST(NcclProcessesTest, ASlowPeerIsWaitedFor) {
  NcclRanksOptions options;
  options.fault = {.kind = FakeFault::Kind::kSlow, .device = 1, .launch = 2, .pause = milliseconds(300)};
  const auto violations =
      testing::nccl_runner().run(0, testing::test_options(), options, [](const testing::RankOfDouble& rank) {
        NcclCommunicator& comm = rank.comm;
        const at::Tensor values = at::full({8}, 1.0F);
        for (int call = 0; call < 5; ++call) comm.all_reduce(values, {Channel::kGradients, "values"})->wait();
        double expected = 1.0;
        for (int call = 0; call < 5; ++call) expected *= comm.size();
        EXPECT_EQ(values[7].item<float>(), static_cast<float>(expected));
      });
  EXPECT_THAT(violations, IsEmpty());
}

}  // namespace
}  // namespace rondo
