#pragma once

#include "sharding/handle/mpi_session.h"

namespace rondo::bench {

/// `exchange_bench --backend nccl`: the self-test of every rank's device, then each collective of NCCL at several
/// sizes, checked and timed, with the bandwidths of nccl-tests. Returns whether all were correct. Throws ConfigError
/// that says what is missing where NCCL cannot run.
bool run_collectives_on_devices(MpiSession& session);

}  // namespace rondo::bench
