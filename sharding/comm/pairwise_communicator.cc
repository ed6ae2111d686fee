#include "sharding/comm/pairwise_communicator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/comm/exchange_plan.h"
#include "sharding/comm/message_window.h"

namespace rondo {

/// Holds on to a call until it is over.
class PairwiseCommunicator::CallWork final : public Work {
 public:
  CallWork(PairwiseCommunicator& comm, std::shared_ptr<Collective> call)
      : comm_(comm),
        call_(std::move(call)),
        deadline_(comm.options_.deadline(comm.phase_)),
        exceptions_(std::uncaught_exceptions()) {}

  /// While an exception passes through, peers may never answer: the call is left to the communicator.
  ~CallWork() override {
    if (call_->complete() || std::uncaught_exceptions() > exceptions_) return;
    try {
      comm_.wait(*call_, deadline_);
    } catch (const Error&) {
      // The communicator remembers it: the next call throws it again.
    }
  }

  void wait() override { comm_.wait(*call_, deadline_); }

 private:
  PairwiseCommunicator& comm_;
  std::shared_ptr<Collective> call_;  // shared with the communicator
  std::chrono::milliseconds deadline_;
  int exceptions_;
};

PairwiseCommunicator::PairwiseCommunicator(std::unique_ptr<Transport> transport, const CommunicatorOptions& options)
    : transport_(std::move(transport)),
      options_(options),
      peers_(static_cast<size_t>(transport_->size())),
      exceptions_at_start_(std::uncaught_exceptions()) {
  validate(options_);
}

PairwiseCommunicator::~PairwiseCommunicator() {
  if (std::uncaught_exceptions() > exceptions_at_start_) give_up("an exception ended its work", ExitCode::kStopped);
  if (!active_.empty()) give_up("it left while calls were under way", ExitCode::kStopped);
  if (!failure_) {
    CallHeader goodbye;
    goodbye.operation = Operation::kGoodbye;
    goodbye.sequence = calls_;
    tell_peers(goodbye, {});
  }
  transport_->close(/*orderly=*/!failure_);
}

std::unique_ptr<Work> PairwiseCommunicator::all_reduce(at::Tensor values, CallTag tag) {
  return issue(plan_all_reduce(place(), values, tag));
}

std::unique_ptr<Work> PairwiseCommunicator::reduce_scatter(at::Tensor input, at::Tensor output,
                                                           std::span<const int64_t> rows, CallTag tag) {
  return issue(plan_reduce_scatter(place(), input, output, rows, tag));
}

std::unique_ptr<Work> PairwiseCommunicator::all_gather(at::Tensor input, at::Tensor output,
                                                       std::span<const int64_t> rows, CallTag tag) {
  return issue(plan_all_gather(place(), input, output, rows, tag));
}

std::unique_ptr<Work> PairwiseCommunicator::all_to_all(at::Tensor input, std::span<const int64_t> send_rows,
                                                       at::Tensor output, std::span<const int64_t> receive_rows,
                                                       CallTag tag) {
  return issue(plan_all_to_all(place(), {input, send_rows}, {output, receive_rows}, tag));
}

std::unique_ptr<Work> PairwiseCommunicator::broadcast(at::Tensor values, int root, CallTag tag) {
  return issue(plan_broadcast(place(), values, root, tag));
}

void PairwiseCommunicator::barrier(CallTag tag) { issue(plan_barrier(place(), tag))->wait(); }

std::unique_ptr<MessageWindow> PairwiseCommunicator::open_window() {
  return options_.share_memory && transport_->shares_host() ? MessageWindow::open(*this) : nullptr;
}

std::unique_ptr<Work> PairwiseCommunicator::announce(ExchangePlan plan) {
  plan.moves = false;
  return issue(std::move(plan));
}

void PairwiseCommunicator::count_device_call(const CallHeader& header) {
  ++device_calls_;
  for (const uint64_t word : {header.what_hash, static_cast<uint64_t>(header.operation),
                              static_cast<uint64_t>(header.channel), static_cast<uint64_t>(header.dtype)}) {
    device_digest_ = mix64(device_digest_ ^ word);
  }
}

bool PairwiseCommunicator::is_over(uint64_t call) const {
  return std::none_of(active_.begin(), active_.end(), [&](const auto& one) { return one->sequence() == call; });
}

std::unique_ptr<Work> PairwiseCommunicator::issue(ExchangePlan plan) {
  throw_if_failed();
  plan.header.sequence = calls_++;
  plan.header.device_calls = device_calls_;
  plan.header.device_digest = device_digest_;
  auto call = std::make_shared<Collective>(std::move(plan), *transport_);
  active_.push_back(call);
  call->start();
  match_early(*call);
  progress();
  return std::make_unique<CallWork>(*this, std::move(call));
}

void PairwiseCommunicator::match_early(Collective& call) {
  for (int peer = 0; peer < size(); ++peer) {
    auto& early = peers_[static_cast<size_t>(peer)].early;
    if (early.empty()) continue;
    const EarlyNote note = std::move(early.front());
    early.pop_front();
    deliver(call, peer, note.header, note.payload);
  }
}

void PairwiseCommunicator::progress() {
  transport_->poll([this](int peer, std::span<const std::byte> note) { on_note(peer, note); });
  if (failure_) return;
  std::erase_if(active_, [this](const auto& call) { return call->advance(pool_); });
  check_departures();
}

void PairwiseCommunicator::on_note(int peer, std::span<const std::byte> note) {
  if (failure_) return;
  CallHeader header;
  RONDO_CHECK_GE(note.size(), sizeof header, "note from rank ", peer);
  std::memcpy(&header, note.data(), sizeof header);
  const auto payload = note.subspan(sizeof header);
  Peer& from = peers_[static_cast<size_t>(peer)];
  if (header.operation == Operation::kFailed || header.operation == Operation::kGoodbye) {
    from.gone = Gone{header, {reinterpret_cast<const char*>(payload.data()), payload.size()}};
  } else if (from.early.empty() && from.heard < calls_) {
    const auto call = std::find_if(active_.begin(), active_.end(),
                                   [&](const auto& active) { return active->sequence() == from.heard; });
    RONDO_CHECK(call != active_.end(), "no call ", from.heard, " for the header of rank ", peer);
    deliver(**call, peer, header, payload);
  } else {
    from.early.push_back({header, {payload.begin(), payload.end()}});
  }
}

void PairwiseCommunicator::deliver(Collective& call, int peer, const CallHeader& header,
                                   std::span<const std::byte> payload) {
  ++peers_[static_cast<size_t>(peer)].heard;
  try {
    call.hear(peer, header, payload);
  } catch (const Error& error) {
    give_up(error.what(), error.exit_code());
  }
}

void PairwiseCommunicator::check_departures() {
  for (int peer = 0; peer < size(); ++peer) {
    const auto& gone = peers_[static_cast<size_t>(peer)].gone;
    if (!gone) continue;
    const auto call = std::find_if(active_.begin(), active_.end(),
                                   [&](const auto& active) { return active->sequence() >= gone->header.sequence; });
    if (call == active_.end()) continue;
    if (gone->header.operation == Operation::kGoodbye) {
      return give_up(concat("rank ", peer, " has left after ", gone->header.sequence, " calls, but rank ", rank(),
                            " made ", describe((*call)->header())),
                     ExitCode::kStopped);
    }
    return fail_with(peer, *gone);
  }
}

/// Every peer hears it from the rank that failed; telling it on would only bury the cause.
void PairwiseCommunicator::fail_with(int peer, const Gone& gone) {
  failed_by_peer_ = true;
  failure_.emplace(concat("rank ", rank(), " stops because rank ", peer, " failed: ", gone.reason),
                   gone.header.exit_code);
}

void PairwiseCommunicator::heed_failed_peers() {
  for (int peer = 0; peer < size() && !failure_; ++peer) {
    const auto& gone = peers_[static_cast<size_t>(peer)].gone;
    if (gone && gone->header.operation == Operation::kFailed) fail_with(peer, *gone);
  }
}

void PairwiseCommunicator::wait(Collective& call, std::chrono::milliseconds deadline) {
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; !call.complete(); ++round) {
    progress();
    if (call.complete()) return;
    throw_if_failed();
    if (std::chrono::steady_clock::now() - start > deadline) {
      give_up(concat("rank ", rank(), " waited longer than ", deadline.count(), " ms in ", describe(call.header()),
                     "; still owed: ", call.owed()),
              ExitCode::kIoOrDeadline);
      throw_if_failed();
    }
    transport_->idle(round);
  }
}

void PairwiseCommunicator::give_up(const std::string& reason, ExitCode exit_code) {
  if (failure_) return;
  failure_.emplace(reason, exit_code);
  CallHeader header;
  header.operation = Operation::kFailed;
  header.sequence = active_.empty() ? calls_ : active_.front()->sequence();
  header.exit_code = exit_code;
  tell_peers(header, reason);
}

void PairwiseCommunicator::tell_peers(const CallHeader& header, std::string_view text) {
  std::array<std::byte, Transport::kNoteBytes> note;
  const size_t length = std::min(text.size(), note.size() - sizeof header);
  std::memcpy(note.data(), &header, sizeof header);
  if (length > 0) std::memcpy(note.data() + sizeof header, text.data(), length);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    try {
      transport_->send_note(peer, {note.data(), sizeof header + length});
    } catch (const PeerError&) {
      // Past telling; the failure that is under way says more.
    }
  }
}

void PairwiseCommunicator::throw_if_failed() const {
  if (failure_) throw *failure_;
}

}  // namespace rondo
