#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "sharding/comm/communicator.h"
#include "tests/sharding/comm/test_values.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

constexpr Channel kChannels[] = {Channel::kExchange, Channel::kGradients, Channel::kBackward, Channel::kControl};

at::Tensor addends(int rank, int64_t count) {
  at::Tensor values = at::empty({count}, at::kFloat);
  for (int64_t i = 0; i < count; ++i) values.mutable_data_ptr<float>()[i] = addend<float>(rank, i);
  return values;
}

std::vector<float> sums(int world, int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(sum_in_rank_order<float>(world, i));
  return values;
}

int64_t size_of_call(int call) { return std::vector<int64_t>{3, 0, 40'000, 900, 9'000}[static_cast<size_t>(call % 5)]; }

class AsyncTest : public RankTest {};

TEST_P(AsyncTest, ManyWorksOnAllChannelsAreWaitedForInAnyOrder) {
  on_each_rank([](Communicator& comm) {
    constexpr int kCalls = 40;
    std::vector<at::Tensor> values;
    std::vector<std::unique_ptr<Work>> works;
    for (int call = 0; call < kCalls; ++call) {
      values.push_back(addends(comm.rank(), size_of_call(call)));
      works.push_back(comm.all_reduce(values.back(), {kChannels[call % 4], "sum"}));
    }
    // Each rank in an order of its own.
    for (int i = 0; i < kCalls; ++i) works[static_cast<size_t>((7 * i + 11 * comm.rank()) % kCalls)]->wait();
    for (int call = 0; call < kCalls; ++call) {
      EXPECT_EQ(values_of<float>(values[static_cast<size_t>(call)]), sums(comm.size(), size_of_call(call))) << call;
    }
  });
}

TEST_P(AsyncTest, BlockingCallsPassWorksThatAreStillInFlight) {
  on_each_rank([](Communicator& comm) {
    at::Tensor large = addends(comm.rank(), 100'000);
    const auto work = comm.all_reduce(large, {Channel::kGradients, "large"});
    for (int i = 0; i < 5; ++i) EXPECT_EQ(sum_of(comm, 1, "small"), comm.size());
    work->wait();
    EXPECT_EQ(values_of<float>(large), sums(comm.size(), 100'000));
    EXPECT_NO_THROW(work->wait()) << "a second wait";
  });
}

TEST_P(AsyncTest, ProgressAloneCompletesTheOutput) {
  on_each_rank([](Communicator& comm) {
    at::Tensor values = addends(comm.rank(), 50'000);
    const auto expected = sums(comm.size(), 50'000);
    const auto work = comm.all_reduce(values, {Channel::kGradients, "sum"});
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (values_of<float>(values) != expected && std::chrono::steady_clock::now() < patience) {
      comm.progress();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    EXPECT_EQ(values_of<float>(values), expected);
    work->wait();
  });
}

TEST_P(AsyncTest, DroppedWorkStillTakesPart) {
  on_each_rank([](Communicator& comm) {
    at::Tensor values = addends(comm.rank(), 20'000);
    if (comm.rank() == 0) {
      comm.all_reduce(values, {Channel::kGradients, "sum"});  // destroyed at once
    } else {
      comm.all_reduce(values, {Channel::kGradients, "sum"})->wait();
    }
    EXPECT_EQ(values_of<float>(values), sums(comm.size(), 20'000));
  });
}

TEST_P(AsyncTest, TensorsLiveAsLongAsTheWork) {
  on_each_rank([](Communicator& comm) {
    std::vector<std::unique_ptr<Work>> works;
    for (int i = 0; i < 10; ++i) {
      works.push_back(comm.all_reduce(addends(comm.rank(), 30'000), {Channel::kGradients, "sum"}));
    }
    for (const auto& work : works) work->wait();
  });
}

TEST_P(AsyncTest, ARankThatRunsAheadIsCaughtUp) {
  on_each_rank([](Communicator& comm) {
    std::vector<std::unique_ptr<Work>> works;
    std::vector<at::Tensor> values;
    for (int call = 0; call < 20; ++call) {
      // The last rank issues each call only after the others have issued all of theirs.
      if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      values.push_back(addends(comm.rank(), size_of_call(call)));
      works.push_back(comm.all_reduce(values.back(), {kChannels[call % 3], "sum"}));
    }
    for (const auto& work : works) work->wait();
    for (int call = 0; call < 20; ++call) {
      EXPECT_EQ(values_of<float>(values[static_cast<size_t>(call)]), sums(comm.size(), size_of_call(call)));
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(AsyncTest);

}  // namespace
}  // namespace rondo
