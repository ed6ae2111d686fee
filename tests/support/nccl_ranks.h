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

/// A rank over the doubles: its communicator, its device and the machine that the device is of.
struct RankOfDouble {
  NcclCommunicator& comm;
  FakeMachine& machine;
  const CudaApi& cuda;
};
using DoubleBody = std::function<void(const RankOfDouble&)>;

/// One rank of a test: its communicator over `libraries`, the body, and the end that `options` ask for.
void run_nccl_rank(PairwiseCommunicator& host, const DeviceLibraries& libraries,
                   const CommunicatorOptions& communication, const NcclRanksOptions& options,
                   const std::function<void(NcclCommunicator&)>& body);

/// As run_nccl_ranks below, for bodies that work on their devices, too.
std::vector<std::string> run_double_ranks(int world, const CommunicatorOptions& communication,
                                          const NcclRanksOptions& options, const DoubleBody& body);

/// Runs `body` on ranks that are threads, each with an NcclCommunicator over the doubles; tensors in host memory stand
/// in for device memory. When no rank has failed, a violation or a leak is a failure of the test. Returns the
/// violations.
std::vector<std::string> run_nccl_ranks(int world, const CommunicatorOptions& communication,
                                        const NcclRanksOptions& options,
                                        const std::function<void(NcclCommunicator&)>& body);

/// How a test runs its ranks over the doubles, and the same body without: as threads; nccl_mpi_main.cc makes them run
/// on the ranks of mpirun.
struct NcclRunner {
  std::function<std::vector<std::string>(int world, const CommunicatorOptions&, const NcclRanksOptions&,
                                         const DoubleBody&)>
      run = run_double_ranks;
  std::function<void(int world, const CommunicatorOptions&, const RankBody&)> run_host = run_ranks;
};

/// The one of this process; set before InitGoogleTest.
inline NcclRunner& nccl_runner() {
  static NcclRunner runner;
  return runner;
}

}  // namespace rondo::testing
