#include "tests/support/mpi_ranks.h"
#include "tests/support/nccl_processes.h"

namespace rondo::testing {
namespace {

/// The bodies of rank tests on backend `nccl`, over the doubles of CUDA and NCCL between the processes of mpirun.
void set_up(MpiSession& session) {
  rank_runner().first_call = 2;  // a barrier, and the unique id
  rank_runner().run = [&](int, const CommunicatorOptions& options, const RankBody& body) {
    run_nccl_process(session, options, {}, [&](const RankOfDouble& rank) { body(rank.comm); });
  };
  nccl_runner().run = [&](int, const CommunicatorOptions& communication, const NcclRanksOptions& options,
                          const DoubleBody& body) { return run_nccl_process(session, communication, options, body); };
  nccl_runner().run_host = [&](int, const CommunicatorOptions& options, const RankBody& body) {
    run_mpi_rank(session, options, body);
  };
  double_run() = [&](std::chrono::milliseconds patience, const std::function<void(const DoubleOfProcess&)>& body) {
    return run_double(session, patience, /*fault=*/{}, body);
  };
}

}  // namespace
}  // namespace rondo::testing

int main(int argc, char** argv) { return rondo::testing::main_of_rank(argc, argv, rondo::testing::set_up); }
