#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Notices that the main thread is stuck where no deadline of ours reaches it: inside MPI, NCCL or a file system.
///
/// The main loop beats at the start of every step and phase. When it has been silent for longer than the deadline of
/// the phase plus the grace, `on_stuck` is called, once, on the watchdog's thread; it usually writes the error file and
/// aborts the job. Waits of a Communicator end earlier, by themselves: hence the grace.
class Watchdog {
 public:
  struct Stuck {
    Phase phase = Phase::kStart;
    int64_t step = 0;  // of the last beat
    std::chrono::milliseconds silent{0};
  };

  /// Starts watching, in Phase::kStart, step 0. `on_stuck` must not throw.
  Watchdog(const CommunicatorOptions& deadlines, std::chrono::milliseconds grace,
           std::function<void(const Stuck&)> on_stuck);

  /// Stops watching; waits for an `on_stuck` under way.
  ~Watchdog();

  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// I am alive, and do this now. Cheap; any thread.
  void beat(Phase phase, int64_t step);

 private:
  void watch();

  const CommunicatorOptions deadlines_;
  const std::chrono::milliseconds grace_;
  const std::function<void(const Stuck&)> on_stuck_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by the mutex:
  Phase phase_ = Phase::kStart;
  int64_t step_ = 0;
  std::chrono::steady_clock::time_point last_beat_ = std::chrono::steady_clock::now();
  bool stopping_ = false;

  std::jthread thread_;  // last: uses all of the above
};

}  // namespace rondo
