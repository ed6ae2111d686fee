// What is NcclCommunicator's own: deadlines, errors that NCCL meets by itself, buffers, the end. The collectives are
// tested by the bodies that all backends share.
#include "sharding/comm/nccl_communicator.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/nccl_ranks.h"

namespace rondo {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::Contains;
using testing::FakeFault;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::NcclRanksOptions;
using testing::run_nccl_ranks;
using testing::test_options;

constexpr CallTag kGradients{Channel::kGradients, "gradient bucket 3"};
constexpr CallTag kSizes{Channel::kControl, "sizes"};

NcclRanksOptions counted() {
  NcclRanksOptions options;
  options.nccl.announce_calls = false;
  options.patience = milliseconds(50);
  return options;
}

CommunicatorOptions short_deadlines() {
  CommunicatorOptions options = test_options();
  options.start_deadline = options.step_deadline = milliseconds(400);
  return options;
}

/// Steps as a training makes them: sizes over the host, rows and gradients over NCCL.
void some_steps(Communicator& comm) {
  for (int step = 0; step < 4; ++step) {
    static_cast<void>(sum_of(comm, 1, "sizes"));
    const std::vector<int64_t> two(static_cast<size_t>(comm.size()), 2);
    at::Tensor rows = at::full({2 * comm.size(), 3}, comm.rank() + 1, at::kFloat);
    at::Tensor received = at::zeros({2 * comm.size(), 3}, at::kFloat);
    comm.all_to_all(rows, two, received, two, {Channel::kExchange, "rows"})->wait();
    at::Tensor gradient = at::full({1'000}, 1.0, at::kFloat);
    comm.all_reduce(gradient, kGradients)->wait();
    comm.barrier({Channel::kControl, "end of step"});
    ASSERT_EQ(gradient.const_data_ptr<float>()[999], static_cast<float>(comm.size()));
    ASSERT_EQ(received.const_data_ptr<float>()[6 * comm.size() - 1], static_cast<float>(comm.size()));
  }
}

/// How a fault ends on each rank of four.
struct Endings {
  std::vector<std::string> texts = std::vector<std::string>(4);
  std::vector<int> codes = std::vector<int>(4, 0);
  std::string cause;  // what the runner names
  steady_clock::duration took{};
};

Endings endings_of(const FakeFault& fault, const std::function<void(Communicator&)>& body = some_steps) {
  Endings endings;
  NcclRanksOptions options = counted();
  options.fault = fault;
  const auto start = steady_clock::now();
  try {
    run_nccl_ranks(4, short_deadlines(), options, [&](NcclCommunicator& comm) {
      comm.set_phase(Phase::kStep);
      try {
        body(comm);
      } catch (const Error& error) {
        endings.texts[static_cast<size_t>(comm.rank())] = error.what();
        endings.codes[static_cast<size_t>(comm.rank())] = static_cast<int>(error.exit_code());
        throw;
      }
    });
  } catch (const Error& error) {
    endings.cause = error.what();
  }
  endings.took = steady_clock::now() - start;
  return endings;
}

TEST(NcclCommunicatorTest, AnAsyncErrorEndsEveryRankWithItsTextAndCode) {
  const Endings endings = endings_of({.kind = FakeFault::Kind::kAsyncError, .device = 2, .launch = 3});
  EXPECT_THAT(endings.codes, ::testing::Each(static_cast<int>(ExitCode::kStopped)));
  EXPECT_THAT(endings.texts, ::testing::Each(HasSubstr("injected in launch 3")));
  EXPECT_THAT(endings.cause,
              AllOf(HasSubstr("NCCL 2.28.9"), HasSubstr("on rank 2 of 4"), HasSubstr("communicator 'gradients'"),
                    HasSubstr("(ncclSystemError, 2); last error: injected in launch 3"),
                    HasSubstr("device call 3: all_reduce 'gradient bucket 3', channel gradients, Float, "
                              "4000 bytes")));
}

TEST(NcclCommunicatorTest, ALostPeerIsNoticedByTheOthers) {
  const Endings endings = endings_of({.kind = FakeFault::Kind::kRemoteAbort, .device = 1, .launch = 2});
  EXPECT_THAT(endings.codes, ::testing::Each(static_cast<int>(ExitCode::kStopped)));
  EXPECT_THAT(endings.texts, ::testing::Each(HasSubstr("ncclRemoteError")));
  EXPECT_THAT(endings.cause, HasSubstr("rank 1 is gone"));
}

TEST(NcclCommunicatorTest, ADeviceThatHangsMeetsTheDeadline) {
  const Endings endings = endings_of({.kind = FakeFault::Kind::kHang, .device = 3, .launch = 2});
  EXPECT_THAT(endings.codes, ::testing::Each(static_cast<int>(ExitCode::kIoOrDeadline)));
  EXPECT_THAT(endings.cause, AllOf(HasSubstr("waited longer than 400 ms for its device in device call 2: all_to_all "
                                             "'rows', channel exchange, Float"),
                                   HasSubstr("NCCL 2.28.9 reports no error: a rank is stuck, or a link is down")));
  EXPECT_LT(endings.took, seconds(5)) << "no rank waits for ever";
}

TEST(NcclCommunicatorTest, ASlowPeerChangesNothing) {
  const Endings endings =
      endings_of({.kind = FakeFault::Kind::kSlow, .device = 0, .launch = 1, .pause = milliseconds(30)});
  EXPECT_EQ(endings.cause, "");
}

TEST(NcclCommunicatorTest, AnInitThatNeverEndsMeetsTheDeadlineOfTheStart) {
  NcclRanksOptions options = counted();
  options.fault = {.kind = FakeFault::Kind::kInitHangs, .device = 1};
  std::atomic<int> started = 0;
  try {
    run_nccl_ranks(3, short_deadlines(), options, [&](NcclCommunicator&) { ++started; });
    ADD_FAILURE() << "nothing thrown";
  } catch (const PeerError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kIoOrDeadline);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("ncclCommInitRankConfig was not over after 400 ms on rank"),
                                    HasSubstr("NCCL 2.28.9, communicator 'exchange', in start")));
  }
  EXPECT_EQ(started, 0);
}

TEST(NcclCommunicatorTest, ARankThatDoesNotComeToTheStartIsNamed) {
  try {
    run_ranks(3, short_deadlines(), [](Communicator& comm) {
      if (comm.rank() == 1) return;
      testing::FakeMachine machine(1);
      testing::FakeNccl nccl(machine);
      const CudaApi cuda = machine.cuda(0);
      const NcclApi api = nccl.api(0);
      NcclCommunicator(dynamic_cast<PairwiseCommunicator&>(comm), {cuda, api}, short_deadlines());
    });
    ADD_FAILURE() << "nothing thrown";
  } catch (const PeerError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1 has left after 0 calls"));
  }
}

TEST(NcclCommunicatorTest, CountedCallsAreComparedAtTheNextExchangeOfSizes) {
  const auto odd = [](Communicator& comm) {
    comm.all_reduce(at::zeros({8}, at::kFloat), kGradients)->wait();
    const CallTag tag = comm.rank() == 2 ? CallTag{Channel::kGradients, "gradient bucket 4"} : kGradients;
    comm.all_reduce(at::zeros({8}, at::kFloat), tag)->wait();
    static_cast<void>(sum_of(comm, 1, "sizes"));
  };
  const Endings endings = endings_of({}, odd);
  EXPECT_THAT(endings.cause, AllOf(HasSubstr("made different calls (device calls before)"),
                                   HasSubstr("expects 8, after 2 device calls")));
}

TEST(NcclCommunicatorTest, BuffersKeepTheirHighWaterMark) {
  run_nccl_ranks(3, test_options(), counted(), [](NcclCommunicator& comm) {
    EXPECT_EQ(comm.buffer_bytes(), 0);
    some_steps(comm);
    const int64_t first = comm.buffer_bytes();
    EXPECT_GT(first, 0);
    for (int round = 0; round < 5; ++round) some_steps(comm);
    EXPECT_EQ(comm.buffer_bytes(), first);
  });
}

TEST(NcclCommunicatorTest, ManyCallsUnderWayHaveBuffersOfTheirOwn) {
  run_nccl_ranks(3, test_options(), counted(), [](NcclCommunicator& comm) {
    std::vector<at::Tensor> values;
    std::vector<std::unique_ptr<Work>> works;
    for (int call = 0; call < 6; ++call) {
      values.push_back(at::full({2'000}, comm.rank() + call, at::kFloat));
      works.push_back(
          comm.all_reduce(values.back(), {call % 2 == 0 ? Channel::kGradients : Channel::kBackward, "sum"}));
    }
    for (int call = 5; call >= 0; --call) {
      works[static_cast<size_t>(call)]->wait();
      EXPECT_EQ(values[static_cast<size_t>(call)].const_data_ptr<float>()[1'999], static_cast<float>(3 + 3 * call));
    }
  });
}

TEST(NcclCommunicatorTest, ControlGoesOverTheHost) {
  NcclRanksOptions options = counted();
  options.fault = {.kind = FakeFault::Kind::kHang, .device = 0, .launch = 0};  // nothing is launched
  run_nccl_ranks(2, test_options(), options, [](NcclCommunicator& comm) {
    EXPECT_EQ(sum_of(comm, comm.rank(), "sum"), 1);
    comm.barrier(kSizes);
    EXPECT_EQ(comm.buffer_bytes(), 0);
  });
}

TEST(NcclCommunicatorTest, FinalizeEndsInOrder) {
  NcclRanksOptions options = counted();
  options.finalize = true;  // what is out of order is a violation, what stays is a leak
  for (const int world : {1, 2, 7}) {
    const auto violations =
        run_nccl_ranks(world, test_options(), options, [](NcclCommunicator& comm) { some_steps(comm); });
    EXPECT_THAT(violations, IsEmpty());
  }
}

TEST(NcclCommunicatorTest, NothingRunsAfterFinalize) {
  run_nccl_ranks(2, test_options(), counted(), [](NcclCommunicator& comm) {
    comm.finalize();
    EXPECT_THROW(comm.all_reduce(at::zeros({8}, at::kFloat), kGradients), InternalError);
  });
}

}  // namespace
}  // namespace rondo
