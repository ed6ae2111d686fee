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

namespace rondo {
namespace {

using std::chrono::seconds;

/// Beyond a deadline of ours, what is stuck is inside a library.
constexpr seconds kWatchdogGrace{30};

int exit_code_of(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  return static_cast<int>(known != nullptr ? known->exit_code() : ExitCode::kInternal);
}

void start_threads(int wanted, int local_size) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  set_threads(wanted > 0 ? wanted : std::max(1, cores / local_size));
}

void run_under_launcher(const RankOptions& options, const std::function<void(RankProcess&)>& body,
                        const std::function<void(const RankFailure&)>& on_error) {
  MpiSession session;
  start_threads(options.threads, session.local_size());
  start_logging({session.rank(), session.size(), LogLevel::kInfo, {}});
  int64_t last_step = 0;
  auto comm = make_mpi_communicator(session, options.communication);
  Watchdog watchdog(options.communication, kWatchdogGrace, [&](const Watchdog::Stuck& stuck) {
    const std::string text =
        concat("rank ", session.rank(), " is stuck after step ", stuck.step, ": nothing moved for ",
               std::chrono::duration_cast<seconds>(stuck.silent).count(), " s");
    on_error({session.rank(), stuck.step, static_cast<int>(ExitCode::kIoOrDeadline), text});
    log_error(text);
    session.abort(static_cast<int>(ExitCode::kIoOrDeadline));
  });
  RankProcess process{*comm, [&](Phase phase, int64_t step) {
                        last_step = step;
                        watchdog.beat(phase, step);
                      }};
  try {
    body(process);
  } catch (const std::exception& error) {
    // Peers may wait for us: first they hear why, then all ranks end with the code.
    const int code = exit_code_of(error);
    on_error({session.rank(), last_step, code, error.what()});
    log_error(error.what());
    comm->give_up(error.what(), static_cast<ExitCode>(code));
    session.abort(code);
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
  if (under_launcher()) {
    run_under_launcher(options, body, on_error);
    return;
  }
  start_threads(options.threads, 1);
  start_logging({0, 1, LogLevel::kInfo, {}});  // to standard error: the answer alone is on standard output
  const auto comm = make_single_communicator(options.communication);
  int64_t last_step = 0;
  RankProcess process{*comm, [&](Phase, int64_t step) { last_step = step; }};
  try {
    body(process);
  } catch (const std::exception& error) {
    on_error({0, last_step, exit_code_of(error), error.what()});
    throw;
  }
}

}  // namespace rondo
