#include <chrono>
#include <thread>

#include "sharding/base/error.h"
#include "sharding/comm/communicator.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/comm/watchdog.h"
#include "sharding/handle/mpi_session.h"

// A job of two or more ranks for the test of the way out when nothing else works: rank 0 is stuck outside of all
// deadlines, the others wait for it inside MPI_Finalize. The watchdog of rank 0 must end them all with code 74.
int main() {
  using namespace rondo;
  MpiSession session;
  make_mpi_communicator(session, {})->barrier({Channel::kControl, "start"});
  if (session.rank() == 0) {
    CommunicatorOptions deadlines;
    deadlines.step_deadline = std::chrono::milliseconds(200);
    Watchdog watchdog(deadlines, std::chrono::milliseconds(100),
                      [&](const Watchdog::Stuck&) { session.abort(static_cast<int>(ExitCode::kIoOrDeadline)); });
    watchdog.beat(Phase::kStep, 3);
    std::this_thread::sleep_for(std::chrono::seconds(60));
  }
  session.finalize();
  return 0;
}
