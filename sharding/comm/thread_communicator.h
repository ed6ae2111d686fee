#pragma once

#include <functional>
#include <memory>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Runs `body` on `world` ranks that are threads of this process, each with its communicator, and returns when all
/// have returned. The backend of tests and of debugging.
///
/// When ranks throw, the others leave their waits with PeerError, and one exception is thrown again: an error of its
/// own kind before a PeerError, what happened on a rank before what a peer told it; of equals, the earliest.
void run_ranks(int world, const CommunicatorOptions& options, const std::function<void(Communicator&)>& body);

/// A world of one: every call is complete at once. For commands that run alone, without the start-up time of MPI.
std::unique_ptr<Communicator> make_single_communicator(const CommunicatorOptions& options);

}  // namespace rondo
