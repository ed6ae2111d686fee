#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "sharding/handle/mpi_session.h"
#include "tests/support/nccl_ranks.h"

namespace rondo::testing {

/// The doubles of CUDA and NCCL in this process, which is one rank of mpirun's job and has one device of the machine.
struct DoubleOfProcess {
  FakeMachine& machine;
  FakeNccl& nccl;
  int rank;
  int world;
  Communicator& side;  // for what the ranks of a test say to each other
};

struct DoubleVerdict {
  std::vector<std::string> violations;  // of all processes
  std::vector<std::string> leaks;       // of this one
  bool failed = false;                  // did the body throw, in any process?
  std::exception_ptr thrown;            // in this one
};

/// Runs `body` in every process of the job; returns once it is over in all. Collective.
DoubleVerdict run_double(MpiSession& session, std::chrono::milliseconds patience, const FakeFault& fault,
                         const std::function<void(const DoubleOfProcess&)>& body);

/// run_double in the session of this process; set by nccl_mpi_main.cc.
using DoubleRun = std::function<DoubleVerdict(std::chrono::milliseconds patience,
                                              const std::function<void(const DoubleOfProcess&)>& body)>;
inline DoubleRun& double_run() {
  static DoubleRun run;
  return run;
}

/// As run_double_ranks, with ranks that are the processes of mpirun's job. Collective.
std::vector<std::string> run_nccl_process(MpiSession& session, const CommunicatorOptions& communication,
                                          const NcclRanksOptions& options, const DoubleBody& body);

}  // namespace rondo::testing
