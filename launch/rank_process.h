#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "launch/device_choice.h"
#include "sharding/comm/communicator.h"

namespace rondo {

struct RankOptions {
  CommunicatorOptions communication;
  int threads = 0;  // of this rank; 0: cores of the host / its ranks
  DeviceWish device = DeviceWish::kAuto;
};

/// This process among the ranks of its job.
struct RankProcess {
  Communicator& comm;

  /// Tells the watchdog what comes now; call it before every phase of the work.
  std::function<void(Phase phase, int64_t step)> beat;
};

/// Why a rank ends: for its error file.
struct RankFailure {
  int rank = 0;
  Phase phase = Phase::kStart;  // of the last beat
  int64_t step = 0;             // of the last beat
  int exit_code = 0;
  std::string type;  // error_type_of
  std::string message;
};

/// Runs `body` as one rank: of the job that mpirun or srun started, or alone. The only place where MPI begins and ends.
///
/// What `body` throws is given to `on_error`; under a launcher it then ends every rank with its exit code, alone it is
/// thrown on. Throws ConfigError before anything begins for a device that cannot be had. `on_error` may be called from
/// the watchdog's thread, and must not throw.
void run_as_rank(const RankOptions& options, const std::function<void(RankProcess&)>& body,
                 const std::function<void(const RankFailure&)>& on_error);

/// Was this process started by mpirun or srun?
bool under_launcher();

/// Under a launcher: starts this program again with OMP_WAIT_POLICY=passive unless the variable is set. First thing in
/// main.
void wait_passively(char** argv);

}  // namespace rondo
