#include "sharding/comm/thread_transport.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "sharding/base/check.h"

namespace rondo {
namespace {

struct Note {
  int source = 0;
  std::vector<std::byte> bytes;
};

/// Bytes that a sender holds ready; the receiver copies them.
struct Offer {
  int source = 0;
  Lane lane;
  ByteSpan segment;
  std::atomic<bool> taken{false};
};

struct Mailbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Note> notes;
  std::list<std::shared_ptr<Offer>> offers;  // shared with the sender, which asks whether it was taken
  uint64_t events = 0;                       // anything that may end a wait of the owner
};

void ring(Mailbox& mailbox) {
  {
    const std::lock_guard lock(mailbox.mutex);
    ++mailbox.events;
  }
  mailbox.changed.notify_one();
}

}  // namespace

struct ThreadHub::Mailboxes {
  explicit Mailboxes(int world) : of_rank(static_cast<size_t>(world)) {}
  std::vector<Mailbox> of_rank;
};

class ThreadHub::Endpoint final : public Transport {
 public:
  Endpoint(int rank, std::shared_ptr<Mailboxes> mailboxes) : rank_(rank), mailboxes_(std::move(mailboxes)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(mailboxes_->of_rank.size()); }
  bool shares_host() const override { return false; }  // one process

  void send_note(int peer, std::span<const std::byte> note) override {
    Mailbox& mailbox = mailbox_of(peer);
    {
      const std::lock_guard lock(mailbox.mutex);
      mailbox.notes.push_back({rank_, {note.begin(), note.end()}});
      ++mailbox.events;
    }
    mailbox.changed.notify_one();
  }

  void poll(const NoteHandler& handler) override {
    Mailbox& mailbox = mailbox_of(rank_);
    arrived_.clear();
    {
      const std::lock_guard lock(mailbox.mutex);
      arrived_.swap(mailbox.notes);
      seen_ = mailbox.events;
    }
    for (const Note& note : arrived_) handler(note.source, note.bytes);
  }

  int64_t send(int peer, Lane lane, const ByteSpan& segment) override {
    auto offer = std::make_shared<Offer>();
    offer->source = rank_;
    offer->lane = lane;
    offer->segment = segment;
    Mailbox& mailbox = mailbox_of(peer);
    {
      const std::lock_guard lock(mailbox.mutex);
      mailbox.offers.push_back(offer);
      ++mailbox.events;
    }
    mailbox.changed.notify_one();
    return keep({.offer = std::move(offer)});
  }

  int64_t receive(int peer, Lane lane, const ByteSpan& segment) override {
    return keep({.source = peer, .lane = lane, .segment = segment});
  }

  bool finished(int64_t transfer) override {
    Slot& slot = slots_[static_cast<size_t>(transfer)];
    const bool over = slot.offer ? slot.offer->taken.load(std::memory_order_acquire) : take_offer(slot);
    if (over) {
      slot = {};
      free_.push_back(transfer);
    }
    return over;
  }

  void idle(int) override {
    Mailbox& mailbox = mailbox_of(rank_);
    std::unique_lock lock(mailbox.mutex);
    mailbox.changed.wait_for(lock, std::chrono::milliseconds(10), [&] { return mailbox.events != seen_; });
  }

  /// Offers own their tensors, so that a peer may still copy after this rank has gone.
  void close(bool) override {}

 private:
  struct Slot {
    std::shared_ptr<Offer> offer = {};  // a sending one; shared with the receiver's mailbox
    int source = 0;
    Lane lane = {};
    ByteSpan segment = {};
  };

  Mailbox& mailbox_of(int rank) { return mailboxes_->of_rank[static_cast<size_t>(rank)]; }

  int64_t keep(Slot slot) {
    if (free_.empty()) {
      slots_.push_back(std::move(slot));
      return static_cast<int64_t>(slots_.size()) - 1;
    }
    const int64_t transfer = free_.back();
    free_.pop_back();
    slots_[static_cast<size_t>(transfer)] = std::move(slot);
    return transfer;
  }

  /// Copies what the peer offers for this receiving slot; false when it has offered nothing yet.
  bool take_offer(const Slot& slot) {
    const auto offer = find_offer(slot);
    if (!offer) return false;
    RONDO_CHECK_EQ(offer->segment.bytes, slot.segment.bytes, "bytes from rank ", slot.source);
    std::memcpy(slot.segment.data, offer->segment.data, static_cast<size_t>(slot.segment.bytes));
    offer->segment.owner.reset();
    offer->taken.store(true, std::memory_order_release);
    ring(mailbox_of(slot.source));
    return true;
  }

  std::shared_ptr<Offer> find_offer(const Slot& slot) {
    Mailbox& mailbox = mailbox_of(rank_);
    const std::lock_guard lock(mailbox.mutex);
    for (auto it = mailbox.offers.begin(); it != mailbox.offers.end(); ++it) {
      if ((*it)->source != slot.source || !((*it)->lane == slot.lane)) continue;
      auto offer = std::move(*it);
      mailbox.offers.erase(it);
      return offer;
    }
    return nullptr;
  }

  int rank_;
  std::shared_ptr<Mailboxes> mailboxes_;  // shared with the hub and the other ranks
  std::vector<Slot> slots_;
  std::vector<int64_t> free_;
  std::vector<Note> arrived_;  // being handed over
  uint64_t seen_ = 0;          // events of the mailbox at the last poll
};

ThreadHub::ThreadHub(int world) : mailboxes_(std::make_shared<Mailboxes>(world)) { RONDO_CHECK_GE(world, 1); }

ThreadHub::~ThreadHub() = default;

std::unique_ptr<Transport> ThreadHub::transport(int rank) {
  RONDO_CHECK(rank >= 0 && rank < static_cast<int>(mailboxes_->of_rank.size()), "rank ", rank);
  return std::make_unique<Endpoint>(rank, mailboxes_);
}

}  // namespace rondo
