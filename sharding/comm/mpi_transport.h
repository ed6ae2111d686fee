#pragma once

#include <cstdint>
#include <memory>

#include "sharding/comm/transport.h"
#include "sharding/handle/mpi_session.h"

namespace rondo {

/// Notes and transfers over MPI_Isend and MPI_Irecv: one duplicated communicator for notes and one for each channel.
/// Transfers go in pieces of at most `piece_bytes` (MPI counts are 32 bits wide). Collective, as make_mpi_communicator.
std::unique_ptr<Transport> make_mpi_transport(MpiSession& session, int64_t piece_bytes);

}  // namespace rondo
