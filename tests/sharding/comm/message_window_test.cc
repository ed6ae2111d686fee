#include "sharding/comm/message_window.h"

#include <gmock/gmock.h>

#include <cstring>

#include "sharding/base/error.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

class MessageWindowTest : public RankTest {};

/// What rank `from` says to rank `to` in message `number`, of so many bytes.
std::vector<std::byte> text(int from, int to, int number, int64_t bytes) {
  std::vector<std::byte> all(static_cast<size_t>(bytes));
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::byte>(31 * from + 7 * to + 3 * number + static_cast<int>(i % 251));
  }
  return all;
}

int64_t length(int from, int to, int number) {
  return number == 1 ? int64_t{3} << 20 : 100 * from + 10 * to + number;  // the second outgrows the memory
}

void write(MessageWindow& window, const Communicator& comm, int number) {
  int64_t total = 0;
  for (int to = 0; to < comm.size(); ++to) total += length(comm.rank(), to, number);
  std::byte* out = window.begin(total);
  for (int to = 0; to < comm.size(); ++to) {
    const auto part = text(comm.rank(), to, number, length(comm.rank(), to, number));
    out = std::copy(part.begin(), part.end(), out);
  }
}

void exchange(MessageWindow& window, const Communicator& comm, int number) {
  std::vector<int64_t> send, receive;
  for (int rank = 0; rank < comm.size(); ++rank) {
    send.push_back(length(comm.rank(), rank, number));
    receive.push_back(length(rank, comm.rank(), number));
  }
  window.exchange(send, receive, "test message");
}

void expect_message(const MessageWindow& window, const Communicator& comm, int number) {
  for (int from = 0; from < comm.size(); ++from) {
    if (from == comm.rank()) continue;
    const auto expected = text(from, comm.rank(), number, length(from, comm.rank(), number));
    EXPECT_EQ(std::memcmp(window.incoming(from), expected.data(), expected.size()), 0)
        << "message " << number << " from " << from;
  }
}

TEST_P(MessageWindowTest, DeliversMessagesThatGrow) {
  on_each_rank([](Communicator& comm) {
    const auto window = comm.open_window();
    EXPECT_EQ(window != nullptr, comm.size() > 1) << "all ranks are processes of this host";
    for (int number = 0; number < 5 && window != nullptr; ++number) {
      write(*window, comm, number);
      exchange(*window, comm, number);
      expect_message(*window, comm, number);
    }
  });
}

TEST_P(MessageWindowTest, KeepsAMessageWhileOthersWriteTheNext) {
  on_each_rank([](Communicator& comm) {
    const auto window = comm.open_window();
    if (window == nullptr) return;
    if (comm.rank() != 0) write(*window, comm, 0);
    for (int number = 0; number < 4; ++number) {
      if (comm.rank() == 0) write(*window, comm, number);
      exchange(*window, comm, number);
      if (comm.rank() != 0) {
        expect_message(*window, comm, number);
        write(*window, comm, number + 1);
      }
      comm.barrier({Channel::kControl, "others have written"});
      if (comm.rank() == 0) expect_message(*window, comm, number);
    }
  });
}

TEST_P(MessageWindowTest, IsNotOpenedWhereItMayNot) {
  CommunicatorOptions options = testing::test_options();
  options.share_memory = false;
  on_each_rank([](Communicator& comm) { EXPECT_EQ(comm.open_window(), nullptr); }, options);
}

TEST_P(MessageWindowTest, RefusesAnotherLength) {
  if (world() == 1) GTEST_SKIP() << "a world of one has nobody to differ from";
  on_each_rank([](Communicator& comm) {
    const auto window = comm.open_window();
    window->begin(0);
    std::vector<int64_t> send(static_cast<size_t>(comm.size())), receive = send;
    if (comm.rank() == 1) receive[0] = 16;
    try {
      window->exchange(send, receive, "test message");
      EXPECT_NE(comm.rank(), 1);
    } catch (const PeerError& error) {
      EXPECT_EQ(comm.rank(), 1);
      EXPECT_THAT(error.what(),
                  ::testing::HasSubstr("expects 16 bytes of \"test message\" from rank 0, which sends 0"));
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(MessageWindowTest);

}  // namespace
}  // namespace rondo
