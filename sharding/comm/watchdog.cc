#include "sharding/comm/watchdog.h"

#include <utility>

namespace rondo {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

Watchdog::Watchdog(const CommunicatorOptions& deadlines, milliseconds grace, std::function<void(const Stuck&)> on_stuck)
    : deadlines_(deadlines), grace_(grace), on_stuck_(std::move(on_stuck)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
}

void Watchdog::beat(Phase phase, int64_t step) {
  const std::lock_guard lock(mutex_);
  // A phase with a shorter deadline than the one being slept on must wake the watcher; the next beat need not.
  const bool sooner = deadlines_.deadline(phase) < deadlines_.deadline(phase_);
  phase_ = phase;
  step_ = step;
  last_beat_ = steady_clock::now();
  if (sooner) changed_.notify_one();
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto limit = last_beat_ + deadlines_.deadline(phase_) + grace_;
    const auto now = steady_clock::now();
    if (now < limit) {
      changed_.wait_until(lock, limit);
      continue;
    }
    const Stuck stuck{phase_, step_, duration_cast<milliseconds>(now - last_beat_)};
    lock.unlock();
    on_stuck_(stuck);
    return;
  }
}

}  // namespace rondo
