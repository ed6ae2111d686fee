#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <thread>

#include "tests/support/fake_cuda.h"
#include "tests/support/fake_nccl.h"

namespace rondo::testing {

constexpr CudaStream kCompute = nullptr;

/// One rank of a test, with its tables, a stream, a communicator and device memory.
struct DoubleRank {
  DoubleRank(FakeMachine& machine, FakeNccl& double_of_nccl, int number)
      : rank(number), cuda(machine.cuda(number)), nccl(double_of_nccl.api(number)) {
    cuda.stream_create(&stream);
    nccl.comm_init_rank(&comm, machine.devices(), NcclUniqueId{'x'}, number);
    EXPECT_EQ(settle(comm), NcclResult::kSuccess);
  }

  int rank;
  CudaApi cuda;
  NcclApi nccl;
  CudaStream stream = nullptr;
  NcclComm comm = nullptr;
  std::array<float, 8> host{};

  NcclResult settle(NcclComm which) const {
    NcclResult state = NcclResult::kInProgress;
    for (int poll = 0; poll < 2'000 && state == NcclResult::kInProgress; ++poll) {
      nccl.comm_get_async_error(which, &state);
      if (state == NcclResult::kInProgress) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return state;
  }
  float* device(size_t count) const {
    void* memory = nullptr;
    cuda.malloc(&memory, count * sizeof(float));
    return static_cast<float*>(memory);
  }
  void copy(void* to, const void* from, size_t count, CudaStream on) const {
    cuda.memcpy_async(to, from, count * sizeof(float), on);
  }
  CudaEvent record(CudaStream on) const {
    CudaEvent event = nullptr;
    cuda.event_create(&event);
    cuda.event_record(event, on);
    return event;
  }
  void wait(CudaStream waiting, CudaStream for_stream) const { cuda.stream_wait_event(waiting, record(for_stream)); }
  /// Sums `count` floats of `memory` on the stream.
  NcclResult sum(float* memory, size_t count) const {
    return nccl.all_reduce(memory, memory, count, NcclType::kFloat32, comm, stream);
  }
};

/// What a right program does: copies in, orders, sums, orders, copies out.
inline void sum_in_order(DoubleRank& rank) {
  rank.host.fill(static_cast<float>(rank.rank + 1));
  float* const memory = rank.device(8);
  rank.copy(memory, rank.host.data(), 8, kCompute);
  rank.wait(rank.stream, kCompute);
  rank.sum(memory, 8);
  rank.wait(kCompute, rank.stream);
  rank.copy(rank.host.data(), memory, 8, kCompute);
  rank.settle(rank.comm);
}

/// A program that copies out before any event says that the sum is over. `all_have_read` keeps a peer, whose wait makes
/// the sum run here as well, until every rank has.
inline void read_before_the_sum(DoubleRank& rank, const std::function<void()>& all_have_read) {
  rank.host.fill(1.0F);
  float* const memory = rank.device(8);
  rank.copy(memory, rank.host.data(), 8, kCompute);
  rank.wait(rank.stream, kCompute);
  rank.sum(memory, 8);
  rank.copy(rank.host.data(), memory, 8, kCompute);
  EXPECT_EQ(rank.host[0], 1.0F) << "the sum has not run";
  all_have_read();
  rank.wait(kCompute, rank.stream);
}

}  // namespace rondo::testing
