#pragma once

#include <functional>

#include "sharding/comm/pairwise_communicator.h"
#include "sharding/handle/mpi_session.h"
#include "tests/support/rank_test.h"

namespace rondo::testing {

/// Runs a body on backend `mpi`.
void run_mpi_rank(MpiSession& session, const CommunicatorOptions& options, const RankBody& body);

/// main of rank tests under mpirun: bodies run on the ranks of the job, every rank prints its failures, and one bad
/// rank fails every rank, so that the launcher's status is never green by luck. `set_up` says how bodies run.
int main_of_rank(int argc, char** argv, const std::function<void(MpiSession&)>& set_up);

/// Runs `step`; when it throws, the peers hear why before it is thrown on.
void tell_peers_of_failure(PairwiseCommunicator& comm, const std::function<void()>& step);

}  // namespace rondo::testing
