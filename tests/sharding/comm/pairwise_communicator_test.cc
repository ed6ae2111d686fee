#include "sharding/comm/pairwise_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/comm/thread_transport.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using std::chrono::milliseconds;

/// A link that is slow to one peer.
class SlowLink final : public Transport {
 public:
  SlowLink(std::unique_ptr<Transport> inner, int slow_peer, milliseconds delay)
      : inner_(std::move(inner)), slow_peer_(slow_peer), delay_(delay) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  bool shares_host() const override { return inner_->shares_host(); }
  void send_note(int peer, std::span<const std::byte> note) override {
    if (peer == slow_peer_) std::this_thread::sleep_for(delay_);
    inner_->send_note(peer, note);
  }
  void poll(const NoteHandler& handler) override { inner_->poll(handler); }
  int64_t send(int peer, Lane lane, const ByteSpan& segment) override { return inner_->send(peer, lane, segment); }
  int64_t receive(int peer, Lane lane, const ByteSpan& segment) override {
    return inner_->receive(peer, lane, segment);
  }
  bool finished(int64_t transfer) override { return inner_->finished(transfer); }
  void idle(int round) override { inner_->idle(round); }
  void close(bool orderly) override { inner_->close(orderly); }

 private:
  std::unique_ptr<Transport> inner_;
  int slow_peer_;
  milliseconds delay_;
};

constexpr CallTag kTag{Channel::kControl, "meeting"};

/// Three ranks. Rank 1 is through the first call and gives up long before rank 2 hears rank 0 in that call.
TEST(PairwiseCommunicatorTest, CallsThatAreCompleteOnTheFailedRankCompleteEverywhere) {
  ThreadHub hub(3);
  const auto make = [&](int rank) {
    auto link = std::make_unique<SlowLink>(hub.transport(rank), /*slow_peer=*/2, milliseconds(rank == 0 ? 150 : 0));
    return std::make_unique<PairwiseCommunicator>(std::move(link), testing::test_options());
  };
  const auto expect_told = [](Communicator& comm) {
    try {
      comm.barrier(kTag);
      ADD_FAILURE() << "nothing thrown";
    } catch (const PeerError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("because rank 1 failed: disk gone"));
      EXPECT_EQ(error.exit_code(), ExitCode::kIoOrDeadline);
    }
  };
  std::vector<std::jthread> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([&, rank] {
      const auto comm = make(rank);
      EXPECT_NO_THROW(comm->barrier(kTag)) << "rank " << rank;
      if (rank == 1) return comm->give_up("disk gone", ExitCode::kIoOrDeadline);
      expect_told(*comm);
    });
  }
}

}  // namespace
}  // namespace rondo
