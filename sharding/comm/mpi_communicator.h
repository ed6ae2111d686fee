#pragma once

#include <memory>

#include "sharding/comm/communicator.h"
#include "sharding/comm/pairwise_communicator.h"
#include "sharding/handle/mpi_session.h"

namespace rondo {

/// The ranks of the MPI job; tensors in host memory. Collective: every rank calls it, in the same order among calls.
/// The session outlives the result. One thread per rank calls it and uses it.
std::unique_ptr<PairwiseCommunicator> make_mpi_communicator(MpiSession& session, const CommunicatorOptions& options);

}  // namespace rondo
