#include "sharding/comm/thread_communicator.h"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/comm/pairwise_communicator.h"
#include "sharding/comm/thread_transport.h"

namespace rondo {
namespace {

/// The exception that says why the job failed. Any thread.
class FirstCause {
 public:
  /// How far an exception is from the cause; the lowest is kept, of equals the first.
  enum Distance { kOwnError, kPeerError, kToldByPeer, kNone };

  void report(Distance distance, std::exception_ptr exception) {
    const std::lock_guard lock(mutex_);
    if (distance < distance_) {
      distance_ = distance;
      exception_ = std::move(exception);
    }
  }

  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::mutex mutex_;
  Distance distance_ = kNone;
  std::exception_ptr exception_;
};

void run_rank(PairwiseCommunicator& comm, const std::function<void(Communicator&)>& body, FirstCause& cause) {
  try {
    body(comm);
  } catch (const PeerError& error) {
    cause.report(comm.failed_by_peer() ? FirstCause::kToldByPeer : FirstCause::kPeerError, std::current_exception());
    comm.give_up(error.what(), error.exit_code());
  } catch (const Error& error) {
    cause.report(FirstCause::kOwnError, std::current_exception());
    comm.give_up(error.what(), error.exit_code());
  } catch (const std::exception& error) {
    cause.report(FirstCause::kOwnError, std::current_exception());
    comm.give_up(error.what(), ExitCode::kInternal);
  } catch (...) {
    cause.report(FirstCause::kOwnError, std::current_exception());
    comm.give_up("an exception of no known type", ExitCode::kInternal);
  }
}

}  // namespace

void run_ranks(int world, const CommunicatorOptions& options, const std::function<void(Communicator&)>& body) {
  validate(options);
  ThreadHub hub(world);
  FirstCause cause;
  const auto run_as = [&](int rank) {
    PairwiseCommunicator comm(hub.transport(rank), options);
    run_rank(comm, body, cause);
  };
  {
    std::vector<std::jthread> ranks;
    ranks.reserve(static_cast<size_t>(world));
    for (int rank = 0; rank < world; ++rank) ranks.emplace_back(run_as, rank);
  }
  cause.rethrow();
}

std::unique_ptr<Communicator> make_single_communicator(const CommunicatorOptions& options) {
  return std::make_unique<PairwiseCommunicator>(ThreadHub(/*world=*/1).transport(/*rank=*/0), options);
}

}  // namespace rondo
