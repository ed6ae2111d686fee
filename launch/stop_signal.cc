#include "launch/stop_signal.h"

#include <atomic>
#include <csignal>

namespace rondo {
namespace {

// A handler has no other way to reach us. Lock-free, written by the handler, read by the loop.
std::atomic<bool> stop_flag{false};

void on_signal(int) { stop_flag.store(true, std::memory_order_relaxed); }

}  // namespace

void install_stop_signal() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGUSR2, &action, nullptr);
}

bool stop_requested() { return stop_flag.load(std::memory_order_relaxed); }

}  // namespace rondo
