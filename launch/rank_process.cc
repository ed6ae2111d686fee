#include "launch/rank_process.h"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "sharding/base/parallel.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/comm/thread_communicator.h"
#include "sharding/comm/watchdog.h"
#include "sharding/handle/mpi_session.h"
#include "trainer/nn/tensor_memory.h"
#include "trainer/telemetry/error_file.h"

namespace rondo {
namespace {

using std::chrono::seconds;

/// Beyond a deadline of ours, what is stuck is inside a library.
constexpr seconds kWatchdogGrace{30};

/// What a rank was at when it failed: the last beat.
struct LastBeat {
  Phase phase = Phase::kStart;
  int64_t step = 0;
};

RankFailure failure_of(int rank, const LastBeat& last, const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  const auto code = static_cast<int>(known != nullptr ? known->exit_code() : ExitCode::kInternal);
  return {rank, last.phase, last.step, code, error_type_of(error), error.what()};
}

void start_threads(int wanted, int local_size) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  set_threads(wanted > 0 ? wanted : std::max(1, cores / local_size));
  keep_tensor_memory();
}

void run_under_launcher(const RankOptions& options, const std::function<void(RankProcess&)>& body,
                        const std::function<void(const RankFailure&)>& on_error) {
  MpiSession session;
  start_threads(options.threads, session.local_size());
  start_logging({session.rank(), session.size(), LogLevel::kInfo, {}});
  LastBeat last;
  auto comm = make_mpi_communicator(session, options.communication);
  Watchdog watchdog(options.communication, kWatchdogGrace, [&](const Watchdog::Stuck& stuck) {
    const PeerError error(concat("rank ", session.rank(), " is stuck after step ", stuck.step, ": nothing moved for ",
                                 std::chrono::duration_cast<seconds>(stuck.silent).count(), " s"),
                          ExitCode::kIoOrDeadline);
    on_error(failure_of(session.rank(), {stuck.phase, stuck.step}, error));
    log_error(error.what());
    session.abort(static_cast<int>(error.exit_code()));
  });
  RankProcess process{*comm, [&](Phase phase, int64_t step) {
                        last = {phase, step};
                        watchdog.beat(phase, step);
                      }};
  try {
    body(process);
  } catch (const std::exception& error) {
    // Peers may wait for us: first they hear why, then all ranks end with the code.
    const RankFailure failure = failure_of(session.rank(), last, error);
    on_error(failure);
    log_error(error.what());
    comm->give_up(error.what(), static_cast<ExitCode>(failure.exit_code));
    session.abort(failure.exit_code);
  }
  comm.reset();
  session.finalize();
}

}  // namespace

bool under_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

void wait_passively(char** argv) {
  // OpenMP reads it when it is loaded: before main. Ranks that spin while they wait take each other's cores.
  if (!under_launcher() || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv("/proc/self/exe", argv);  // on failure we go on as we are
}

void run_as_rank(const RankOptions& options, const std::function<void(RankProcess&)>& body,
                 const std::function<void(const RankFailure&)>& on_error) {
  require_device(options.device);
  if (under_launcher()) {
    run_under_launcher(options, body, on_error);
    return;
  }
  start_threads(options.threads, 1);
  start_logging({0, 1, LogLevel::kInfo, {}});  // to standard error: the answer alone is on standard output
  const auto comm = make_single_communicator(options.communication);
  LastBeat last;
  RankProcess process{*comm, [&](Phase phase, int64_t step) { last = {phase, step}; }};
  try {
    body(process);
  } catch (const std::exception& error) {
    on_error(failure_of(0, last, error));
    throw;
  }
}

}  // namespace rondo
