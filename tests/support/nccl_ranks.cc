#include "tests/support/nccl_ranks.h"

#include <gtest/gtest.h>

#include <atomic>

#include "sharding/comm/pairwise_communicator.h"
#include "sharding/comm/thread_communicator.h"

namespace rondo::testing {

void run_nccl_rank(PairwiseCommunicator& host, const DeviceLibraries& libraries,
                   const CommunicatorOptions& communication, const NcclRanksOptions& options,
                   const std::function<void(NcclCommunicator&)>& body) {
  NcclCommunicator comm(host, libraries, communication, options.nccl);
  body(comm);
  if (options.finalize) comm.finalize();
}

std::vector<std::string> run_nccl_ranks(int world, const CommunicatorOptions& communication,
                                        const NcclRanksOptions& options,
                                        const std::function<void(NcclCommunicator&)>& body) {
  return run_double_ranks(world, communication, options, [&](const RankOfDouble& rank) { body(rank.comm); });
}

std::vector<std::string> run_double_ranks(int world, const CommunicatorOptions& communication,
                                          const NcclRanksOptions& options, const DoubleBody& body) {
  FakeMachine machine(world, options.patience);
  FakeNccl nccl(machine, options.fault);
  std::atomic<bool> failed = false;
  std::exception_ptr thrown;
  try {
    run_ranks(world, communication, [&](Communicator& comm) {
      auto& host = dynamic_cast<PairwiseCommunicator&>(comm);
      const CudaApi cuda_table = machine.cuda(comm.rank());
      const NcclApi nccl_table = nccl.api(comm.rank());
      try {
        run_nccl_rank(host, {cuda_table, nccl_table}, communication, options,
                      [&](NcclCommunicator& made) { body({made, machine, cuda_table}); });
      } catch (const std::exception& error) {
        failed = true;
        if (options.on_error) options.on_error(comm.rank(), error);
        throw;
      }
      if (host.has_failed()) failed = true;
    });
  } catch (...) {
    thrown = std::current_exception();
  }
  const auto violations = machine.violations();
  for (const std::string& leak : machine.leaks()) ADD_FAILURE() << leak;
  for (const std::string& leak : nccl.leaks()) ADD_FAILURE() << leak;
  if (!failed) {
    for (const std::string& violation : violations) ADD_FAILURE() << violation;
  }
  if (thrown) std::rethrow_exception(thrown);
  return violations;
}

}  // namespace rondo::testing
