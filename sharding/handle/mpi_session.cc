#include "sharding/handle/mpi_session.h"

#include <mpi.h>

#include <cstdlib>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {

MpiSession::MpiSession() {
  int granted = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &granted) != MPI_SUCCESS) {
    throw PeerError("MPI could not be started; run the job with mpirun or srun of the MPI that Rondo was built with");
  }
  if (granted < MPI_THREAD_MULTIPLE) {
    MPI_Finalize();
    throw ConfigError(concat("this MPI library grants thread level ", granted, ", expected MPI_THREAD_MULTIPLE (",
                             MPI_THREAD_MULTIPLE, "); use one that was built with thread support"));
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank_);
  MPI_Comm_size(node, &local_size_);
  MPI_Comm_free(&node);
}

MpiSession::~MpiSession() {
  if (!finalized_) abort(static_cast<int>(ExitCode::kInternal));
}

void MpiSession::finalize() {
  RONDO_CHECK(!finalized_, "MPI has ended before");
  finalized_ = true;
  MPI_Finalize();
  kept_.clear();
}

void MpiSession::abort(int code) noexcept {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);  // MPI_Abort is only a best attempt.
}

}  // namespace rondo
