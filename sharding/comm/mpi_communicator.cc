#include "sharding/comm/mpi_communicator.h"

#include "sharding/comm/mpi_transport.h"

namespace rondo {

std::unique_ptr<PairwiseCommunicator> make_mpi_communicator(MpiSession& session, const CommunicatorOptions& options) {
  validate(options);
  return std::make_unique<PairwiseCommunicator>(make_mpi_transport(session, options.piece_bytes), options);
}

}  // namespace rondo
