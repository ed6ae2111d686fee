#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/comm/call_header.h"
#include "sharding/comm/collective.h"
#include "sharding/comm/communicator.h"
#include "sharding/comm/exchange_plan.h"
#include "sharding/comm/staging_pool.h"
#include "sharding/comm/transport.h"

namespace rondo {

/// The collectives for tensors in host memory, written once over a Transport. The `thread` and `mpi` backends are this
/// class over their transports.
///
/// After a failure every call throws it again: an exchange that one rank has given up cannot be joined later. A failed
/// or departing rank tells its peers which of its calls are complete; they complete those, too, and their next wait
/// ends with a PeerError that carries its text and exit code.
class PairwiseCommunicator final : public Communicator {
 public:
  PairwiseCommunicator(std::unique_ptr<Transport> transport, const CommunicatorOptions& options);

  /// Says goodbye; while an exception passes through, tells the peers that this rank has failed.
  ~PairwiseCommunicator() override;

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  void set_phase(Phase phase) override { phase_ = phase; }

  std::unique_ptr<Work> all_reduce(at::Tensor values, CallTag tag) override;
  std::unique_ptr<Work> reduce_scatter(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                       CallTag tag) override;
  std::unique_ptr<Work> all_gather(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                   CallTag tag) override;
  std::unique_ptr<Work> all_to_all(at::Tensor input, std::span<const int64_t> send_rows, at::Tensor output,
                                   std::span<const int64_t> receive_rows, CallTag tag) override;
  std::unique_ptr<Work> broadcast(at::Tensor values, int root, CallTag tag) override;
  void barrier(CallTag tag) override;
  void progress() override;
  std::unique_ptr<MessageWindow> open_window() override;

  // For a backend that moves bytes between devices and keeps to this one for what the ranks tell each other.

  /// A call whose bytes move elsewhere: complete once every peer has made it, too. Its number is the calls() before.
  std::unique_ptr<Work> announce(ExchangePlan plan);
  uint64_t calls() const { return calls_; }
  bool is_over(uint64_t call) const;

  /// A call that is not announced: the next call that is compares how many there were before, and which.
  void count_device_call(const CallHeader& header);
  uint64_t device_calls() const { return device_calls_; }

  /// Has this communicator failed? Every later call throws why.
  bool has_failed() const { return failure_.has_value(); }
  void throw_if_failed() const;

  /// A call on the devices cannot be completed any more: if a peer has said that it failed, that is why.
  void heed_failed_peers();

  /// Rests until something may have arrived; `round` counts the fruitless polls before.
  void idle(int round) { transport_->idle(round); }

  /// Tells the peers that this rank has failed, for a reason of its own; later calls throw. Does not throw.
  void give_up(const std::string& reason, ExitCode exit_code);

  /// Did the failure of a peer, told by that peer, end this communicator?
  bool failed_by_peer() const { return failed_by_peer_; }

 private:
  class CallWork;
  struct EarlyNote {
    CallHeader header;
    std::vector<std::byte> payload;
  };
  struct Gone {
    CallHeader header;   // kFailed or kGoodbye; the calls before header.sequence are complete there
    std::string reason;  // of a failure
  };
  struct Peer {
    std::deque<EarlyNote> early;  // calls that this rank has not made yet
    uint64_t heard = 0;           // calls whose header has been matched
    std::optional<Gone> gone;
  };

  Place place() { return {rank(), size(), &pool_}; }
  std::unique_ptr<Work> issue(ExchangePlan plan);
  void wait(Collective& call, std::chrono::milliseconds deadline);
  void on_note(int peer, std::span<const std::byte> note);
  void match_early(Collective& call);
  void deliver(Collective& call, int peer, const CallHeader& header, std::span<const std::byte> payload);
  void check_departures();
  void fail_with(int peer, const Gone& gone);
  /// To every peer that can be told. Does not throw.
  void tell_peers(const CallHeader& header, std::string_view text);

  std::unique_ptr<Transport> transport_;
  CommunicatorOptions options_;
  Phase phase_ = Phase::kStart;
  uint64_t calls_ = 0;
  uint64_t device_calls_ = 0;
  uint64_t device_digest_ = 0;
  std::vector<Peer> peers_;
  // Shared with the Work of the call: the work may be asked after the call is over, the call moves without being waited
  // for.
  std::deque<std::shared_ptr<Collective>> active_;
  StagingPool pool_;
  std::optional<PeerError> failure_;
  bool failed_by_peer_ = false;
  int exceptions_at_start_;
};

}  // namespace rondo
