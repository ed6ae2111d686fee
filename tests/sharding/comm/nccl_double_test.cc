// The doubles of CUDA and NCCL are stricter than the real libraries: each rule is broken here on purpose, in the way
// that the real ones let pass by luck, and must be noticed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <barrier>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "sharding/base/check.h"
#include "tests/sharding/comm/double_rank.h"
#include "tests/support/fake_cuda.h"
#include "tests/support/fake_nccl.h"

namespace rondo {
namespace {

using std::chrono::milliseconds;
using ::testing::Contains;
using testing::DoubleRank;
using ::testing::ElementsAre;
using testing::FakeMachine;
using testing::FakeNccl;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kCompute;
using testing::sum_in_order;

/// Runs `body` on each rank with a communicator of all; returns the violations.
std::vector<std::string> violations_of(int world, const std::function<void(DoubleRank&)>& body,
                                       milliseconds patience = milliseconds(300)) {
  FakeMachine machine(world, patience);
  FakeNccl nccl(machine);
  {
    std::vector<std::jthread> threads;
    for (int r = 0; r < world; ++r) {
      threads.emplace_back([&, r] {
        DoubleRank rank(machine, nccl, r);
        body(rank);
      });
    }
  }
  return machine.violations();
}

TEST(NcclDoubleTest, LetsARightProgramPass) {
  const auto violations = violations_of(3, [](DoubleRank& rank) {
    sum_in_order(rank);
    EXPECT_EQ(rank.host[7], 6.0F);
  });
  EXPECT_THAT(violations, IsEmpty());
}

TEST(NcclDoubleTest, ARunOfAnOperationWaitsForTheLastLegalMoment) {
  const auto violations = violations_of(1, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    rank.copy(memory, rank.host.data(), 8, rank.stream);  // lazy: of host memory, as it will be then
    rank.host.fill(5.0F);
    rank.wait(kCompute, rank.stream);
    std::array<float, 8> seen{};
    rank.copy(seen.data(), memory, 8, kCompute);
    EXPECT_EQ(seen[0], 5.0F) << "an eager stream would have copied the zeros";
  });
  EXPECT_THAT(violations, IsEmpty());
}

TEST(NcclDoubleTest, APolledEventRunsAtTheThirdPoll) {
  violations_of(1, [](DoubleRank& rank) {
    const CudaEvent event = rank.record(rank.stream);
    EXPECT_EQ(rank.cuda.event_query(event), kCudaNotReady);
    EXPECT_EQ(rank.cuda.event_query(event), kCudaNotReady);
    EXPECT_EQ(rank.cuda.event_query(event), kCudaSuccess);
  });
}

TEST(NcclDoubleTest, AMissingEventBeforeTheOperation) {
  const auto violations = violations_of(2, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    rank.copy(memory, rank.host.data(), 8, kCompute);
    rank.sum(memory, 8);  // nothing orders it after the copy
    rank.wait(kCompute, rank.stream);
  });
  EXPECT_THAT(violations, Contains(HasSubstr("no event orders launch 0 on stream 1, which")));
  EXPECT_THAT(violations, Contains(HasSubstr("after a copy of 32 bytes on stream 0, which writes the same memory")));
}

TEST(NcclDoubleTest, AMissingEventAfterTheOperationReadsStaleData) {
  std::barrier both_have_read(2);
  const auto violations = violations_of(
      2, [&](DoubleRank& rank) { testing::read_before_the_sum(rank, [&] { both_have_read.arrive_and_wait(); }); });
  EXPECT_THAT(violations, Contains(HasSubstr("no event orders launch 0 on stream 1")));
}

TEST(NcclDoubleTest, ABufferWrittenWhileItIsSent) {
  const auto violations = violations_of(2, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    rank.wait(rank.stream, kCompute);
    rank.sum(memory, 8);
    rank.copy(memory, rank.host.data(), 8, kCompute);
    rank.wait(kCompute, rank.stream);
  });
  EXPECT_THAT(violations, Contains(HasSubstr("no event orders")));
}

TEST(NcclDoubleTest, AnEventThatWasNeverRecorded) {
  const auto violations = violations_of(1, [](DoubleRank& rank) {
    CudaEvent event = nullptr;
    rank.cuda.event_create(&event);
    rank.cuda.stream_wait_event(rank.stream, event);
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("never recorded")));
}

TEST(NcclDoubleTest, CountsThatDiffer) {
  const auto violations = violations_of(2, [](DoubleRank& rank) {
    rank.sum(rank.device(8), rank.rank == 0 ? 8 : 7);
    rank.wait(kCompute, rank.stream);
    EXPECT_EQ(rank.settle(rank.comm), NcclResult::kInvalidUsage);
    EXPECT_THAT(rank.nccl.last_error(rank.comm), HasSubstr("rank 0 all-reduces 8 float32"));
    EXPECT_THAT(rank.nccl.last_error(rank.comm), HasSubstr("rank 1 all-reduces 7 float32"));
  });
  EXPECT_EQ(violations.size(), 1U);
}

TEST(NcclDoubleTest, TypesThatDiffer) {
  const auto violations = violations_of(2, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    const NcclType type = rank.rank == 0 ? NcclType::kFloat32 : NcclType::kBytes;
    rank.nccl.broadcast(memory, memory, 8, type, 0, rank.comm, rank.stream);
    rank.wait(kCompute, rank.stream);
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("8 bytes with root 0")));
}

TEST(NcclDoubleTest, RootsAndKindsThatDiffer) {
  EXPECT_THAT(violations_of(2,
                            [](DoubleRank& rank) {
                              float* const memory = rank.device(8);
                              rank.nccl.broadcast(memory, memory, 8, NcclType::kBytes, rank.rank, rank.comm,
                                                  rank.stream);
                              rank.wait(kCompute, rank.stream);
                            }),
              ElementsAre(HasSubstr("with root 1")));
  EXPECT_THAT(violations_of(2,
                            [](DoubleRank& rank) {
                              float* const memory = rank.device(16);
                              if (rank.rank == 0) {
                                rank.sum(memory, 8);
                              } else {
                                rank.nccl.all_gather(memory, memory, 8, NcclType::kFloat32, rank.comm, rank.stream);
                              }
                              rank.wait(kCompute, rank.stream);
                            }),
              ElementsAre(HasSubstr("all-gathers 8 float32")));
}

TEST(NcclDoubleTest, GroupsThatDiffer) {
  const auto violations = violations_of(2, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    if (rank.rank == 0) rank.nccl.group_start();
    for (int root = 0; root < 2; ++root) {
      rank.nccl.reduce(memory, memory, 4, NcclType::kFloat32, root, rank.comm, rank.stream);
      if (rank.rank == 1) rank.settle(rank.comm);
    }
    if (rank.rank == 0) rank.nccl.group_end();
    rank.wait(kCompute, rank.stream);
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("in a group of 2")));
}

/// Each of two ranks sends to the other and receives from it.
void swap_with_peer(DoubleRank& rank, bool grouped) {
  float* const memory = rank.device(16);
  const int peer = 1 - rank.rank;
  if (grouped) rank.nccl.group_start();
  rank.nccl.send(memory, 32, NcclType::kBytes, peer, rank.comm, rank.stream);
  if (!grouped) rank.settle(rank.comm);
  rank.nccl.recv(memory + 8, 32, NcclType::kBytes, peer, rank.comm, rank.stream);
  if (grouped) rank.nccl.group_end();
  rank.wait(kCompute, rank.stream);
}

TEST(NcclDoubleTest, AnUngroupedSwapDeadlocks) {
  const auto run = [](bool grouped) {
    return violations_of(2, [=](DoubleRank& rank) { swap_with_peer(rank, grouped); }, std::chrono::seconds(20));
  };
  EXPECT_THAT(run(true), IsEmpty());
  EXPECT_THAT(run(false), ElementsAre(HasSubstr("deadlock: device")));
}

TEST(NcclDoubleTest, AGroupOverTwoStreams) {
  const auto violations = violations_of(1, [](DoubleRank& rank) {
    CudaStream other = nullptr;
    rank.cuda.stream_create(&other);
    float* const memory = rank.device(16);
    rank.nccl.group_start();
    rank.nccl.send(memory, 8, NcclType::kBytes, 0, rank.comm, rank.stream);
    rank.nccl.recv(memory + 8, 8, NcclType::kBytes, 0, rank.comm, other);
    rank.nccl.group_end();
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("two communicators or streams")));
}

TEST(NcclDoubleTest, AnOperationBeforeTheLastOneHasSettled) {
  const auto violations = violations_of(1, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    EXPECT_EQ(rank.sum(memory, 8), NcclResult::kInProgress);
    EXPECT_EQ(rank.sum(memory, 8), NcclResult::kInvalidUsage);
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("in progress")));
}

TEST(NcclDoubleTest, AChildThatIsUsedBeforeItIsThere) {
  const auto violations = violations_of(1, [](DoubleRank& rank) {
    NcclComm child = rank.comm;
    rank.nccl.comm_split(rank.comm, 0, 0, &child);
    EXPECT_EQ(child, nullptr);
    NcclResult state = NcclResult::kSuccess;
    rank.nccl.comm_get_async_error(child, &state);
    rank.settle(rank.comm);
    EXPECT_NE(child, nullptr);
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("that is not there")));
}

TEST(NcclDoubleTest, UseAfterTheEnd) {
  EXPECT_THAT(violations_of(1,
                            [](DoubleRank& rank) {
                              rank.nccl.comm_abort(rank.comm);
                              rank.sum(rank.device(8), 8);
                            }),
              ElementsAre(HasSubstr("that was aborted")));
  EXPECT_THAT(violations_of(1,
                            [](DoubleRank& rank) {
                              rank.nccl.comm_finalize(rank.comm);
                              rank.settle(rank.comm);
                              rank.nccl.comm_destroy(rank.comm);
                              rank.nccl.comm_abort(rank.comm);
                            }),
              ElementsAre(HasSubstr("that was destroyed")));
  EXPECT_THAT(violations_of(1, [](DoubleRank& rank) { rank.nccl.comm_destroy(rank.comm); }),
              ElementsAre(HasSubstr("destroyed before it was finalised")));
  EXPECT_THAT(violations_of(1,
                            [](DoubleRank& rank) {
                              rank.nccl.comm_finalize(rank.comm);
                              rank.settle(rank.comm);
                              rank.sum(rank.device(8), 8);
                            }),
              ElementsAre(HasSubstr("or finalised")));
  EXPECT_THAT(violations_of(1,
                            [](DoubleRank& rank) {
                              rank.cuda.stream_destroy(rank.stream);
                              rank.record(rank.stream);
                            }),
              ElementsAre(HasSubstr("stream 1 used after its end")));
  EXPECT_THAT(violations_of(1,
                            [](DoubleRank& rank) {
                              const CudaEvent event = rank.record(kCompute);
                              rank.cuda.event_destroy(event);
                              rank.cuda.event_query(event);
                            }),
              ElementsAre(HasSubstr("an event used after its end")));
}

TEST(NcclDoubleTest, MemoryReleasedWhileItIsUsed) {
  const auto violations = violations_of(1, [](DoubleRank& rank) {
    float* const memory = rank.device(8);
    rank.sum(memory, 8);
    rank.cuda.free(memory);
    rank.wait(kCompute, rank.stream);
    rank.cuda.free(memory);
  });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("launch 0 touches memory that was released"),
                                      HasSubstr("memory released that is not allocated")));
}

TEST(NcclDoubleTest, ADeviceCalledByTwoThreads) {
  const auto violations =
      violations_of(1, [](DoubleRank& rank) { std::jthread([&] { rank.record(kCompute); }).join(); });
  EXPECT_THAT(violations, ElementsAre(HasSubstr("was called by two threads")));
}

TEST(NcclDoubleTest, WhatIsNotReleasedIsCounted) {
  FakeMachine machine(1);
  FakeNccl nccl(machine);
  const CudaApi cuda = machine.cuda(0);
  const NcclApi api = nccl.api(0);
  CudaStream stream = nullptr;
  CudaEvent event = nullptr;
  void* memory = nullptr;
  NcclComm comm = nullptr;
  cuda.stream_create(&stream);
  cuda.event_create(&event);
  cuda.malloc(&memory, 8);
  api.comm_init_rank(&comm, 1, {}, 0);
  EXPECT_EQ(machine.leaks().size(), 3U);
  EXPECT_EQ(nccl.leaks().size(), 1U);
  cuda.stream_destroy(stream);
  cuda.event_destroy(event);
  cuda.free(memory);
  api.comm_abort(comm);
  EXPECT_THAT(machine.leaks(), IsEmpty());
  EXPECT_THAT(nccl.leaks(), IsEmpty());
}

}  // namespace
}  // namespace rondo
