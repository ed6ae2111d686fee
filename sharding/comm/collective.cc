#include "sharding/comm/collective.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/comm/rank_order_sum.h"

namespace rondo {
namespace {

constexpr int64_t kRides = Transport::kNoteBytes - static_cast<int64_t>(sizeof(CallHeader));
constexpr int64_t kNoTransfer = -1;

bool is_ours(const std::vector<int64_t>& transfers, size_t rank) { return transfers[rank] != kNoTransfer; }

/// "rank 2, 5"; empty when no rank is chosen.
template <typename Chosen>
std::string list_ranks(size_t world, Chosen chosen) {
  std::string text;
  for (size_t rank = 0; rank < world; ++rank) {
    if (chosen(rank)) text += (text.empty() ? "rank " : ", ") + std::to_string(rank);
  }
  return text;
}

}  // namespace

Collective::Collective(ExchangePlan plan, Transport& transport)
    : plan_(std::move(plan)),
      transport_(transport),
      heard_(static_cast<size_t>(transport.size()), 0),
      sending_(heard_.size(), kNoTransfer),
      receiving_(heard_.size(), kNoTransfer),
      silent_(transport.size() - 1) {}

void Collective::start() {
  const auto me = static_cast<size_t>(transport_.rank());
  heard_[me] = 1;
  // Each rank starts with its successor, so that not all send to rank 0 first.
  for (int step = 1; step < transport_.size(); ++step) send_to((transport_.rank() + step) % transport_.size());
  const ByteSpan& own = plan_.receive[me];
  if (plan_.moves && own.bytes > 0 && own.data != plan_.send[me].data)
    std::memcpy(own.data, plan_.send[me].data, static_cast<size_t>(own.bytes));
}

CallHeader Collective::header_for(int peer) const {
  CallHeader header = plan_.header;
  const auto p = static_cast<size_t>(peer);
  header.send_bytes = plan_.stated_bytes >= 0 ? plan_.stated_bytes : plan_.send[p].bytes;
  header.receive_bytes = plan_.stated_bytes >= 0 ? plan_.stated_bytes : plan_.receive[p].bytes;
  return header;
}

void Collective::send_to(int peer) {
  const ByteSpan& segment = plan_.send[static_cast<size_t>(peer)];
  const CallHeader header = header_for(peer);
  std::array<std::byte, Transport::kNoteBytes> note;
  std::memcpy(note.data(), &header, sizeof header);
  const int64_t bytes = plan_.moves ? segment.bytes : 0;
  const bool rides = bytes <= kRides;
  const auto payload = static_cast<size_t>(rides ? bytes : 0);
  if (payload > 0) std::memcpy(note.data() + sizeof header, segment.data, payload);
  transport_.send_note(peer, {note.data(), sizeof header + payload});
  if (!rides) {
    sending_[static_cast<size_t>(peer)] =
        transport_.send(peer, {header.channel, header.sequence, /*stage=*/0}, segment);
  }
}

void Collective::hear(int peer, const CallHeader& theirs, std::span<const std::byte> payload) {
  const CallHeader mine = header_for(peer);
  if (!agrees(mine, theirs)) throw PeerError(divergence(transport_.rank(), mine, peer, theirs));
  const auto p = static_cast<size_t>(peer);
  const ByteSpan& segment = plan_.receive[p];
  const int64_t bytes = plan_.moves ? segment.bytes : 0;
  if (bytes > kRides) {
    receiving_[p] = transport_.receive(peer, {mine.channel, mine.sequence, /*stage=*/0}, segment);
  } else {
    RONDO_CHECK_EQ(static_cast<int64_t>(payload.size()), bytes, "payload from rank ", peer, " in ", describe(mine));
    if (!payload.empty()) std::memcpy(segment.data, payload.data(), payload.size());
  }
  heard_[p] = 1;
  --silent_;
}

bool Collective::advance(StagingPool& pool) {
  if (complete_) return true;
  if (silent_ > 0 || !transfers_over()) return false;
  if (stage_ == 0) {
    if (!plan_.addends.empty()) {
      const auto width = static_cast<int64_t>(c10::elementSize(plan_.header.dtype));
      add_in_rank_order(plan_.addends, plan_.sum.data, plan_.sum.bytes / width, plan_.header.dtype);
    }
    if (!plan_.gather.empty()) {
      start_gather();
      if (!transfers_over()) return false;
    }
  }
  complete_ = true;
  release(pool);
  return true;
}

void Collective::start_gather() {
  stage_ = 1;
  const Lane lane{plan_.header.channel, plan_.header.sequence, stage_};
  for (int step = 1; step < transport_.size(); ++step) {
    const int peer = (transport_.rank() + step) % transport_.size();
    const auto p = static_cast<size_t>(peer);
    if (plan_.sum.bytes > 0) sending_[p] = transport_.send(peer, lane, plan_.sum);
    if (plan_.gather[p].bytes > 0) receiving_[p] = transport_.receive(peer, lane, plan_.gather[p]);
  }
}

bool Collective::transfers_over() {
  const auto is_over = [this](int64_t& transfer) {
    if (transfer != kNoTransfer && transport_.finished(transfer)) transfer = kNoTransfer;
    return transfer == kNoTransfer;
  };
  bool over = true;  // every one is asked: asking is what moves it
  for (int64_t& transfer : receiving_) over = is_over(transfer) && over;
  for (int64_t& transfer : sending_) over = is_over(transfer) && over;
  return over;
}

void Collective::release(StagingPool& pool) {
  pool.give_back(std::move(plan_.staging));
  plan_.send.clear();
  plan_.receive.clear();
  plan_.gather.clear();
  plan_.addends.clear();
  plan_.sum = {};
}

std::string Collective::owed() const {
  const size_t world = heard_.size();
  std::string text;
  const auto say = [&](std::string_view what, const std::string& ranks) {
    if (!ranks.empty()) text += (text.empty() ? "" : "; ") + std::string(what) + ranks;
  };
  say("a call by ", list_ranks(world, [&](size_t rank) { return heard_[rank] == 0; }));
  say("bytes from ", list_ranks(world, [&](size_t rank) { return is_ours(receiving_, rank); }));
  say("taking my bytes: ", list_ranks(world, [&](size_t rank) { return is_ours(sending_, rank); }));
  return text;
}

}  // namespace rondo
