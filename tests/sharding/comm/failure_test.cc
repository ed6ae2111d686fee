#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/comm/communicator.h"
#include "tests/sharding/comm/test_values.h"
#include "tests/support/faulty_communicator.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using testing::Fault;
using ::testing::HasSubstr;
using testing::InjectedFault;
using testing::RankTest;
using testing::run_with_fault;

/// The text of the PeerError that `call` throws.
std::string peer_error(const std::function<void()>& call, ExitCode expected_code = ExitCode::kStopped) {
  try {
    call();
  } catch (const PeerError& error) {
    EXPECT_EQ(error.exit_code(), expected_code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no PeerError";
  return {};
}

void all_reduce_of(Communicator& comm, int64_t count, CallTag tag, at::ScalarType dtype = at::kFloat) {
  comm.all_reduce(at::zeros({count}, dtype), tag)->wait();
}

int first_call() { return testing::rank_runner().first_call; }

class DivergenceTest : public RankTest {
 protected:
  /// Rank 0 makes `odd`, the others `usual`: all get a PeerError that names what differs and both sides.
  void expect_divergence(const std::function<void(Communicator&)>& odd, const std::function<void(Communicator&)>& usual,
                         const std::string& difference) {
    if (world() == 1) GTEST_SKIP() << "nobody to differ from";
    on_each_rank([&](Communicator& comm) {
      comm.barrier({Channel::kControl, "before"});
      const std::string text = peer_error([&] { (comm.rank() == 0 ? odd : usual)(comm); });
      EXPECT_THAT(text, HasSubstr("made different calls (" + difference + ")"));
      EXPECT_THAT(text, HasSubstr(concat("rank 0 made call ", first_call() + 1, ": ")));
      EXPECT_EQ(peer_error([&] { comm.barrier({Channel::kControl, "after"}); }), text) << "the failure stays";
    });
  }
};

constexpr CallTag kTag{Channel::kGradients, "gradient bucket 3"};

TEST_P(DivergenceTest, OfOperation) {
  expect_divergence([](Communicator& comm) { comm.barrier(kTag); },
                    [](Communicator& comm) { comm.broadcast(at::zeros({0}, at::kByte), 0, kTag)->wait(); },
                    "operation");
}

TEST_P(DivergenceTest, OfBytes) {
  expect_divergence([](Communicator& comm) { all_reduce_of(comm, 9, kTag); },
                    [](Communicator& comm) { all_reduce_of(comm, 10, kTag); }, "bytes");
}

TEST_P(DivergenceTest, OfBytesOfLongSegments) {
  expect_divergence([](Communicator& comm) { all_reduce_of(comm, 90'000, kTag); },
                    [](Communicator& comm) { all_reduce_of(comm, 90'001, kTag); }, "bytes");
}

TEST_P(DivergenceTest, OfPurpose) {
  expect_divergence([](Communicator& comm) { all_reduce_of(comm, 9, {Channel::kGradients, "gradient bucket 4"}); },
                    [](Communicator& comm) { all_reduce_of(comm, 9, kTag); }, "purpose");
}

TEST_P(DivergenceTest, OfTheEndOfALongPurpose) {
  static const std::string text(200, 'x');
  static const std::string other = text.substr(1) + "y";
  expect_divergence([](Communicator& comm) { all_reduce_of(comm, 9, {Channel::kGradients, other}); },
                    [](Communicator& comm) { all_reduce_of(comm, 9, {Channel::kGradients, text}); }, "purpose");
}

TEST_P(DivergenceTest, OfChannel) {
  expect_divergence([](Communicator& comm) { all_reduce_of(comm, 9, {Channel::kBackward, kTag.what}); },
                    [](Communicator& comm) { all_reduce_of(comm, 9, kTag); }, "channel");
}

TEST_P(DivergenceTest, OfType) {
  expect_divergence([](Communicator& comm) { all_reduce_of(comm, 9, kTag, at::kDouble); },
                    [](Communicator& comm) { all_reduce_of(comm, 18, kTag, at::kFloat); }, "dtype");
}

TEST_P(DivergenceTest, OfRoot) {
  const auto broadcast_from = [](int root) {
    return [root](Communicator& comm) { comm.broadcast(at::zeros({5}, at::kFloat), root, kTag)->wait(); };
  };
  expect_divergence(broadcast_from(0), broadcast_from(world() - 1), "bytes");
}

TEST_P(DivergenceTest, OfOrder) {
  const auto both = [](CallTag first, CallTag second) {
    return [=](Communicator& comm) {
      const auto work = comm.all_reduce(at::zeros({5}, at::kFloat), first);
      const auto other = comm.all_reduce(at::zeros({5}, at::kFloat), second);
      other->wait();
      work->wait();
    };
  };
  const CallTag negatives{Channel::kBackward, "negatives"};
  expect_divergence(both(negatives, kTag), both(kTag, negatives), "purpose, channel");
}

TEST_P(DivergenceTest, SaysWhoCalledWhatOnBothSides) {
  if (world() != 2) GTEST_SKIP() << "with more ranks it is chance which pair is reported first";
  on_each_rank([](Communicator& comm) {
    const std::vector<int64_t> two{2, 2};
    const at::Tensor ids = at::zeros({4}, at::kLong);
    const std::string text = peer_error([&] {
      if (comm.rank() == 0) return all_reduce_of(comm, 9, kTag);
      comm.all_to_all(ids, two, at::zeros({4}, at::kLong), two, {Channel::kExchange, "row ids"})->wait();
    });
    EXPECT_THAT(text, AllOf(HasSubstr(concat("rank 0 made call ", first_call(),
                                             ": all_reduce 'gradient bucket 3', channel gradients, Float, "
                                             "sends 36 bytes to rank 1 and expects 36")),
                            HasSubstr(concat("rank 1 made call ", first_call(),
                                             ": all_to_all 'row ids', channel exchange, Long, "
                                             "sends 16 bytes to rank 0 and expects 16"))));
  });
}

TEST_P(DivergenceTest, OfRowsOfOnePairReachesEveryRank) {
  if (world() == 1) GTEST_SKIP();
  on_each_rank([](Communicator& comm) {
    // Rank 0 believes that rank 1 sends it 3 rows; rank 1 sends 2. All other pairs agree.
    std::vector<int64_t> send(static_cast<size_t>(comm.size()), 2);
    std::vector<int64_t> receive = send;
    if (comm.rank() == 0) receive[1] = 3;
    const at::Tensor input = at::zeros({total(send), 3}, at::kFloat);
    at::Tensor output = at::zeros({total(receive), 3}, at::kFloat);
    const std::string text = peer_error([&] {
      comm.all_to_all(input, send, output, receive, {Channel::kExchange, "rows"})->wait();
      comm.barrier({Channel::kControl, "where the ranks that saw no difference learn of it"});
    });
    EXPECT_THAT(text, HasSubstr("made different calls (bytes)"));
  });
}

RONDO_INSTANTIATE_RANK_TEST(DivergenceTest);

class LossTest : public RankTest {
 protected:
  static CommunicatorOptions short_deadlines() {
    CommunicatorOptions options = testing::test_options();
    options.step_deadline = milliseconds(200);
    return options;
  }
  int last() const { return world() - 1; }
};

/// A few calls of every size.
void some_steps(Communicator& comm) {
  for (int step = 0; step < 4; ++step) {
    all_reduce_of(comm, 5, kTag);
    all_reduce_of(comm, 30'000, kTag);
    comm.barrier({Channel::kControl, "end of step"});
  }
}

TEST_P(LossTest, ADeadlineNamesThePeersOwedAndTheCall) {
  if (world() == 1) GTEST_SKIP();
  on_each_rank(
      [&](Communicator& comm) {
        comm.barrier({Channel::kControl, "start"});
        comm.set_phase(Phase::kStep);
        if (comm.rank() == last()) {
          std::this_thread::sleep_for(milliseconds(600));
          return;
        }
        const std::string text = peer_error([&] { all_reduce_of(comm, 9, kTag); }, ExitCode::kIoOrDeadline);
        EXPECT_THAT(text, HasSubstr(concat("waited longer than 200 ms in call ", first_call() + 1,
                                           ": all_reduce 'gradient bucket 3'")));
        EXPECT_THAT(text, HasSubstr("still owed: a call by rank " + std::to_string(last())));
      },
      short_deadlines());
}

TEST_P(LossTest, ADeadlineIsThatOfThePhase) {
  if (world() == 1) GTEST_SKIP();
  on_each_rank(
      [&](Communicator& comm) {
        comm.barrier({Channel::kControl, "start"});
        comm.set_phase(Phase::kEvaluation);
        if (comm.rank() == last()) std::this_thread::sleep_for(milliseconds(500));
        EXPECT_NO_THROW(all_reduce_of(comm, 9, kTag));
      },
      short_deadlines());
}

TEST_P(LossTest, ARankThatLeavesEarlyIsNamed) {
  if (world() == 1) GTEST_SKIP();
  on_each_rank([&](Communicator& comm) {
    all_reduce_of(comm, 9, kTag);
    if (comm.rank() == last()) return;
    const std::string text = peer_error([&] { some_steps(comm); });
    EXPECT_THAT(text, HasSubstr(concat("rank ", last(), " has left after ", first_call() + 1, " calls")));
  });
}

TEST_P(LossTest, ARankThatFailsTellsItsPeersWhy) {
  const Fault fault{.kind = Fault::Kind::kThrow, .rank = last(), .call = 4};
  const std::string cause = "injected fault on rank " + std::to_string(last()) + " at call 4";
  // As threads the first cause is thrown again; under mpirun each rank throws what it saw.
  try {
    on_each_rank([&](Communicator& comm) {
      try {
        run_with_fault(comm, fault, some_steps);
      } catch (const PeerError& error) {
        EXPECT_NE(comm.rank(), last());
        EXPECT_THAT(error.what(), HasSubstr("rank " + std::to_string(last()) + " failed: " + cause));
        throw;
      }
    });
    ADD_FAILURE() << "nothing thrown";
  } catch (const InjectedFault& error) {
    EXPECT_EQ(error.what(), cause);
  } catch (const PeerError& error) {
    EXPECT_THAT(error.what(), HasSubstr(cause));
  }
}

TEST_P(LossTest, ADelayedRankChangesNothing) {
  on_each_rank([&](Communicator& comm) {
    for (int64_t call = 0; call < 12; call += 3) {
      const Fault fault{.kind = Fault::Kind::kDelay, .rank = last(), .call = call, .pause = milliseconds(20)};
      EXPECT_NO_THROW(run_with_fault(comm, fault, some_steps));
    }
  });
}

TEST_P(LossTest, ARankThatLeavesAtAnyCallHangsNobody) {
  if (world() == 1) GTEST_SKIP();
  for (int64_t call = 0; call < 12; ++call) {
    on_each_rank([&](Communicator& comm) {
      const Fault fault{.kind = Fault::Kind::kLeave, .rank = 0, .call = call};
      if (comm.rank() == 0) {
        run_with_fault(comm, fault, some_steps);
      } else {
        EXPECT_THAT(peer_error([&] { run_with_fault(comm, fault, some_steps); }), HasSubstr("has left after"));
      }
    });
  }
}

TEST_P(LossTest, WorksInFlightAreAbandonedWhenAnExceptionPasses) {
  if (world() == 1) GTEST_SKIP();
  on_each_rank([&](Communicator& comm) {
    const auto start = std::chrono::steady_clock::now();
    try {
      const auto work = comm.all_reduce(at::zeros({50'000}, at::kFloat), kTag);
      if (comm.rank() == 0) throw InjectedFault("between issue and wait");
      work->wait();
      comm.barrier({Channel::kControl, "next"});
      ADD_FAILURE() << "rank 0 takes no part in it";
    } catch (const InjectedFault&) {
      return;  // leaves
    } catch (const PeerError&) {
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  });
}

RONDO_INSTANTIATE_RANK_TEST(LossTest);

}  // namespace
}  // namespace rondo
