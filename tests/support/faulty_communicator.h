#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>

#include "sharding/base/check.h"
#include "sharding/comm/communicator.h"
#include "sharding/comm/message_window.h"

namespace rondo::testing {

/// What goes wrong on one rank, at its collective call number `call` (from 0; a barrier counts, progress does not).
struct Fault {
  enum class Kind {
    kDelay,    ///< enters the call late, by `pause`
    kSilence,  ///< does not answer for `pause`, then throws InjectedFault: a stopped process, seen by its peers
    kThrow,    ///< throws InjectedFault at once
    kLeave,    ///< returns from the body early and in peace
  };
  Kind kind = Kind::kDelay;
  int rank = 0;
  int64_t call = 0;
  std::chrono::milliseconds pause{50};
};

struct InjectedFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A communicator that makes one fault happen and else passes everything on.
class FaultyCommunicator final : public Communicator {
 public:
  /// Leaves the body; run_with_fault catches it.
  struct Left {};

  /// `inner` outlives this.
  FaultyCommunicator(Communicator& inner, const Fault& fault) : inner_(inner), fault_(fault) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void set_phase(Phase phase) override { inner_.set_phase(phase); }
  void progress() override { inner_.progress(); }
  std::unique_ptr<MessageWindow> open_window() override { return inner_.open_window(); }

  std::unique_ptr<Work> all_reduce(at::Tensor values, CallTag tag) override {
    enter();
    return inner_.all_reduce(values, tag);
  }
  std::unique_ptr<Work> reduce_scatter(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                       CallTag tag) override {
    enter();
    return inner_.reduce_scatter(input, output, rows, tag);
  }
  std::unique_ptr<Work> all_gather(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                   CallTag tag) override {
    enter();
    return inner_.all_gather(input, output, rows, tag);
  }
  std::unique_ptr<Work> all_to_all(at::Tensor input, std::span<const int64_t> send_rows, at::Tensor output,
                                   std::span<const int64_t> receive_rows, CallTag tag) override {
    enter();
    return inner_.all_to_all(input, send_rows, output, receive_rows, tag);
  }
  std::unique_ptr<Work> broadcast(at::Tensor values, int root, CallTag tag) override {
    enter();
    return inner_.broadcast(values, root, tag);
  }
  void barrier(CallTag tag) override {
    enter();
    inner_.barrier(tag);
  }

  /// Collective calls so far: for a test that wants a fault at each of them.
  int64_t calls() const { return calls_; }

 private:
  void enter() {
    if (calls_++ != fault_.call || rank() != fault_.rank) return;
    if (fault_.kind == Fault::Kind::kLeave) throw Left{};
    if (fault_.kind != Fault::Kind::kThrow) std::this_thread::sleep_for(fault_.pause);
    if (fault_.kind != Fault::Kind::kDelay) {
      throw InjectedFault(concat("injected fault on rank ", rank(), " at call ", fault_.call));
    }
  }

  Communicator& inner_;
  Fault fault_;
  int64_t calls_ = 0;
};

/// Runs `body` on a communicator with a fault.
inline void run_with_fault(Communicator& comm, const Fault& fault, const std::function<void(Communicator&)>& body) {
  FaultyCommunicator faulty(comm, fault);
  try {
    body(faulty);
  } catch (const FaultyCommunicator::Left&) {
    // The rank returns as if it had nothing left to do.
  }
}

}  // namespace rondo::testing
