#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sharding/comm/nccl_communicator.h"
#include "tests/support/fake_cuda.h"
#include "tests/support/fake_nccl.h"
#include "tests/support/rank_test.h"

namespace rondo::testing {

/// How ranks run over the doubles of CUDA and NCCL.
struct NcclRanksOptions {
  NcclOptions nccl{.device = at::kCPU, .compute_stream = nullptr, .announce_calls = true};
  FakeFault fault;
  std::chrono::milliseconds patience{20'000};                           // of a compute stream (FakeMachine)
  bool finalize = false;                                                // ends NCCL in order; else the ranks just leave
  std::function<void(int rank, const std::exception& error)> on_error;  // on the thread of the rank that ends with it
};

/// Runs `body` on ranks that are threads, each with an NcclCommunicator over the doubles; tensors in host memory stand
/// in for device memory. When no rank has failed, a violation or a leak is a failure of the test. Returns the
/// violations.
std::vector<std::string> run_nccl_ranks(int world, const CommunicatorOptions& communication,
                                        const NcclRanksOptions& options,
                                        const std::function<void(NcclCommunicator&)>& body);

}  // namespace rondo::testing
