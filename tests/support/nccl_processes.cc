#include "tests/support/nccl_processes.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "sharding/comm/mpi_communicator.h"
#include "tests/support/mpi_ranks.h"
#include "tests/support/scratch_folder.h"

namespace rondo::testing {
namespace {

/// Ranks come together only after the longest deadline of the others.
CommunicatorOptions patient_options() {
  using std::chrono::seconds;
  return {.start_deadline = seconds(110),
          .step_deadline = seconds(110),
          .evaluation_deadline = seconds(110),
          .checkpoint_deadline = seconds(110)};
}

}  // namespace

DoubleVerdict run_double(MpiSession& session, std::chrono::milliseconds patience, const FakeFault& fault,
                         const std::function<void(const DoubleOfProcess&)>& body) {
  const auto side = make_mpi_communicator(session, patient_options());
  std::optional<ScratchFolder> folder;
  std::string path;
  if (session.rank() == 0) {
    folder.emplace();
    path = folder->path() / "board";
    std::ofstream{path};
  }
  FakeBoard board(broadcast_text(*side, path, "board"), session.rank());
  FakeMachine machine(session.size(), patience, &board);
  FakeNccl nccl(machine, fault);
  side->barrier({Channel::kControl, "doubles are there"});  // from here on each reads what the others do
  DoubleVerdict verdict;
  try {
    body({machine, nccl, session.rank(), session.size(), *side});
  } catch (...) {
    verdict.thrown = std::current_exception();
  }
  verdict.failed = largest_of(*side, verdict.thrown ? 1 : 0, "verdict of the double") > 0;
  verdict.violations = machine.violations();
  verdict.leaks = machine.leaks();
  for (const std::string& leak : nccl.leaks()) verdict.leaks.push_back(leak);
  return verdict;
}

std::vector<std::string> run_nccl_process(MpiSession& session, const CommunicatorOptions& communication,
                                          const NcclRanksOptions& options, const DoubleBody& body) {
  bool host_failed = false;
  const auto run = [&](const DoubleOfProcess& doubles) {
    const CudaApi cuda = doubles.machine.cuda(doubles.rank);
    const NcclApi nccl = doubles.nccl.api(doubles.rank);
    const auto host = make_mpi_communicator(session, communication);
    try {
      tell_peers_of_failure(*host, [&] {
        run_nccl_rank(*host, {cuda, nccl}, communication, options,
                      [&](NcclCommunicator& comm) { body({comm, doubles.machine, cuda}); });
      });
    } catch (const std::exception& error) {
      if (options.on_error) options.on_error(doubles.rank, error);
      throw;
    }
    host_failed = host->has_failed();
  };
  const DoubleVerdict verdict = run_double(session, options.patience, options.fault, run);
  for (const std::string& leak : verdict.leaks) ADD_FAILURE() << leak;
  if (!verdict.failed && !host_failed) {
    for (const std::string& violation : verdict.violations) ADD_FAILURE() << violation;
  }
  if (verdict.thrown) std::rethrow_exception(verdict.thrown);
  return verdict.violations;
}

}  // namespace rondo::testing
