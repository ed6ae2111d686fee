#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/comm/communicator.h"
#include "tests/sharding/comm/test_values.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

constexpr CallTag kTag{Channel::kExchange, "test values"};
constexpr at::ScalarType kAllTypes[] = {at::kByte, at::kBool,     at::kChar, at::kShort, at::kInt,
                                        at::kLong, at::kBFloat16, at::kHalf, at::kFloat, at::kDouble};

/// Rows from one rank to another: none for some pairs, more than a note holds for those from rank 1.
int64_t rows_between(int source, int target) { return (source * 5 + target * 3) % 4 * (source == 1 ? 700 : 1); }

/// One row for rank 0, none for rank 1, many for rank 2, ...
std::vector<int64_t> uneven_rows(int world) {
  std::vector<int64_t> rows;
  for (int rank = 0; rank < world; ++rank) rows.push_back(rank % 3 == 0 ? 1 : rank % 3 == 1 ? 0 : 1'500 + rank);
  return rows;
}

class MovementTest : public RankTest {};

void check_all_to_all(Communicator& comm, at::ScalarType dtype) {
  const auto row_bytes = 3 * static_cast<int64_t>(c10::elementSize(dtype));
  std::vector<uint8_t> input;
  std::vector<uint8_t> expected;
  std::vector<int64_t> send_rows;
  std::vector<int64_t> receive_rows;
  for (int peer = 0; peer < comm.size(); ++peer) {
    send_rows.push_back(rows_between(comm.rank(), peer));
    receive_rows.push_back(rows_between(peer, comm.rank()));
    for (int64_t i = 0; i < send_rows.back() * row_bytes; ++i) input.push_back(byte_between(comm.rank(), peer, i));
    for (int64_t i = 0; i < receive_rows.back() * row_bytes; ++i) {
      expected.push_back(byte_between(peer, comm.rank(), i));
    }
  }
  at::Tensor output = at::empty({total(receive_rows), 3}, dtype);
  comm.all_to_all(tensor_of(input, {total(send_rows), 3}, dtype), send_rows, output, receive_rows, kTag)->wait();
  EXPECT_EQ(values_of<uint8_t>(output), expected) << c10::toString(dtype);
}

TEST_P(MovementTest, AllToAllDeliversUnevenSegmentsOfEveryType) {
  on_each_rank([](Communicator& comm) {
    for (const at::ScalarType dtype : kAllTypes) check_all_to_all(comm, dtype);
  });
}

void check_all_gather(Communicator& comm, const std::vector<int64_t>& rows, at::ScalarType dtype) {
  const auto row_bytes = 6 * static_cast<int64_t>(c10::elementSize(dtype));
  const int64_t mine = rows[static_cast<size_t>(comm.rank())];
  std::vector<uint8_t> input;
  for (int64_t i = 0; i < mine * row_bytes; ++i) input.push_back(byte_between(comm.rank(), 0, i));
  std::vector<uint8_t> expected;
  for (int rank = 0; rank < comm.size(); ++rank) {
    for (int64_t i = 0; i < rows[static_cast<size_t>(rank)] * row_bytes; ++i) {
      expected.push_back(byte_between(rank, 0, i));
    }
  }
  at::Tensor output = at::empty({total(rows), 2, 3}, dtype);
  comm.all_gather(tensor_of(input, {mine, 2, 3}, dtype), output, rows, kTag)->wait();
  EXPECT_EQ(values_of<uint8_t>(output), expected) << c10::toString(dtype);
}

TEST_P(MovementTest, AllGatherJoinsUnevenRowsOfEveryTypeInRankOrder) {
  on_each_rank([](Communicator& comm) {
    for (const at::ScalarType dtype : kAllTypes) check_all_gather(comm, uneven_rows(comm.size()), dtype);
    check_all_gather(comm, std::vector<int64_t>(static_cast<size_t>(comm.size()), 0), at::kFloat);
  });
}

TEST_P(MovementTest, BroadcastCopiesFromEveryRoot) {
  on_each_rank([](Communicator& comm) {
    for (int root = 0; root < comm.size(); ++root) {
      for (const int64_t bytes : {0, 1, 3'000, 50'001}) {
        std::vector<uint8_t> mine;
        std::vector<uint8_t> expected;
        for (int64_t i = 0; i < bytes; ++i) {
          mine.push_back(byte_between(comm.rank(), root, i));
          expected.push_back(byte_between(root, root, i));
        }
        at::Tensor values = tensor_of(mine, {bytes}, at::kByte);
        comm.broadcast(values, root, kTag)->wait();
        EXPECT_EQ(values_of<uint8_t>(values), expected) << bytes << " bytes from rank " << root;
      }
    }
  });
}

TEST_P(MovementTest, BarrierLetsNobodyPassBeforeTheLastHasCome) {
  on_each_rank([](Communicator& comm) {
    const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };  // of the machine
    if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const int64_t entered = now();
    comm.barrier(kTag);
    const int64_t left = now();
    EXPECT_GE(left, largest_of(comm, entered, "time of entry"));
  });
}

RONDO_INSTANTIATE_RANK_TEST(MovementTest);

class SumTest : public RankTest {};

template <typename T>
void check_all_reduce(Communicator& comm, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, c10::CppTypeToScalarType<T>::value);
  std::vector<T> expected;
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.mutable_data_ptr<T>()[i] = addend<T>(comm.rank(), i);
    expected.push_back(sum_in_rank_order<T>(comm.size(), i));
  }
  comm.all_reduce(values, kTag)->wait();
  EXPECT_EQ(values_of<T>(values), expected) << values.numel() << " values";
}

template <typename T>
void check_all_reduce_of_all_sizes(Communicator& comm) {
  check_all_reduce<T>(comm, {});  // a scalar
  // Beside awkward ones: what rides with a header, what goes to all whole, and their neighbours.
  for (const int64_t count : {0, 1, 5, 480, 977, 4'096, 8'192, 8'193, 70'001}) check_all_reduce<T>(comm, {count});
  check_all_reduce<T>(comm, {3, 0, 5});
  check_all_reduce<T>(comm, {31, 5, 7});
}

TEST_P(SumTest, AllReduceAddsInRankOrder) {
  on_each_rank([](Communicator& comm) {
    check_all_reduce_of_all_sizes<float>(comm);
    check_all_reduce_of_all_sizes<double>(comm);
    check_all_reduce_of_all_sizes<int64_t>(comm);
  });
}

template <typename T>
void check_reduce_scatter(Communicator& comm, const std::vector<int64_t>& rows) {
  constexpr int64_t kColumns = 5;
  std::vector<T> input;
  for (int64_t i = 0; i < kColumns * total(rows); ++i) input.push_back(addend<T>(comm.rank(), i));
  int64_t first = 0;
  for (int rank = 0; rank < comm.rank(); ++rank) first += rows[static_cast<size_t>(rank)];
  const int64_t mine = rows[static_cast<size_t>(comm.rank())];
  std::vector<T> expected;
  for (int64_t i = kColumns * first; i < kColumns * (first + mine); ++i) {
    expected.push_back(sum_in_rank_order<T>(comm.size(), i));
  }
  const auto dtype = c10::CppTypeToScalarType<T>::value;
  at::Tensor output = at::empty({mine, kColumns}, dtype);
  comm.reduce_scatter(tensor_of(input, {total(rows), kColumns}, dtype), output, rows, kTag)->wait();
  EXPECT_EQ(values_of<T>(output), expected);
}

TEST_P(SumTest, ReduceScatterAddsUnevenRowsInRankOrder) {
  on_each_rank([](Communicator& comm) {
    check_reduce_scatter<float>(comm, uneven_rows(comm.size()));
    check_reduce_scatter<double>(comm, uneven_rows(comm.size()));
    check_reduce_scatter<int64_t>(comm, uneven_rows(comm.size()));
    check_reduce_scatter<float>(comm, std::vector<int64_t>(static_cast<size_t>(comm.size()), 0));
    check_reduce_scatter<float>(comm, std::vector<int64_t>(static_cast<size_t>(comm.size()), 20'000));
  });
}

TEST_P(SumTest, SumOfInt64WrapsAround) {
  on_each_rank([](Communicator& comm) {
    at::Tensor values = at::empty({1}, at::kLong);
    *values.mutable_data_ptr<int64_t>() = INT64_MAX;
    comm.all_reduce(values, kTag)->wait();
    EXPECT_EQ(static_cast<uint64_t>(*values.const_data_ptr<int64_t>()),
              static_cast<uint64_t>(comm.size()) * static_cast<uint64_t>(INT64_MAX));
  });
}

RONDO_INSTANTIATE_RANK_TEST(SumTest);

class PieceTest : public RankTest {};

TEST_P(PieceTest, LongSegmentsTravelInPieces) {
  CommunicatorOptions options = testing::test_options();
  options.piece_bytes = 1'000;  // segments of 70,001 values: hundreds of pieces, the last one short
  on_each_rank(
      [](Communicator& comm) {
        check_all_reduce<float>(comm, {70'001});
        check_all_to_all(comm, at::kLong);
        check_all_gather(comm, uneven_rows(comm.size()), at::kDouble);
      },
      options);
}

RONDO_INSTANTIATE_RANK_TEST(PieceTest);

class ContractTest : public RankTest {};

TEST_P(ContractTest, BrokenCallsAreInternalErrorsAndSendNothing) {
  on_each_rank([](Communicator& comm) {
    const auto world = static_cast<size_t>(comm.size());
    const std::vector<int64_t> rows(world, 2);
    at::Tensor good = at::empty({2 * comm.size(), 4}, at::kFloat);
    at::Tensor mine = at::empty({2, 4}, at::kFloat);
    EXPECT_THROW(comm.all_reduce(at::empty({4}, at::kInt), kTag), InternalError) << "no sums of int32";
    EXPECT_THROW(comm.all_reduce(at::empty({4, 3}, at::kFloat).t(), kTag), InternalError) << "not contiguous";
    EXPECT_THROW(comm.all_reduce(at::Tensor(), kTag), InternalError);
    EXPECT_THROW(comm.all_gather(mine, good, std::vector<int64_t>(world, 3), kTag), InternalError) << "rows";
    EXPECT_THROW(comm.all_gather(mine, good, std::vector<int64_t>(world + 1, 2), kTag), InternalError) << "world";
    EXPECT_THROW(comm.all_gather(at::empty({2, 4}, at::kInt), good, rows, kTag), InternalError) << "dtype";
    EXPECT_THROW(comm.all_gather(at::empty({2, 5}, at::kFloat), good, rows, kTag), InternalError) << "columns";
    EXPECT_THROW(comm.reduce_scatter(good, at::empty({3, 4}, at::kFloat), rows, kTag), InternalError) << "rows";
    EXPECT_THROW(comm.all_to_all(mine, std::vector<int64_t>(world, -1), mine, rows, kTag), InternalError);
    EXPECT_THROW(comm.broadcast(mine, comm.size(), kTag), InternalError) << "root";
    comm.barrier(kTag);  // All that was thrown before a header went out: the ranks still agree.
  });
}

RONDO_INSTANTIATE_RANK_TEST(ContractTest);

class ControlTest : public RankTest {};

TEST_P(ControlTest, HostNumbersMeet) {
  on_each_rank([](Communicator& comm) {
    const int world = comm.size();
    EXPECT_EQ(broadcast_value(comm, 40 + comm.rank(), "value"), 40);
    EXPECT_EQ(broadcast_text(comm, std::string(3, static_cast<char>('a' + comm.rank())), "text"), "aaa");
    EXPECT_EQ(broadcast_text(comm, comm.rank() == 0 ? "" : "other", "empty text"), "");
    EXPECT_EQ(sum_of(comm, comm.rank() + 1, "sum"), world * (world + 1) / 2);
    EXPECT_EQ(largest_of(comm, -comm.rank(), "largest"), 0);
    EXPECT_EQ(largest_of(comm, comm.rank(), "largest"), world - 1);
    std::vector<int64_t> sizes;
    for (int rank = 0; rank < world; ++rank) sizes.push_back(rank * rank);
    EXPECT_EQ(gather_sizes(comm, int64_t{comm.rank()} * comm.rank(), "sizes"), sizes);
  });
}

TEST_P(ControlTest, AgreeReturnsWhenAllAreWell) {
  on_each_rank([](Communicator& comm) { EXPECT_NO_THROW(agree(comm, nullptr, "reading the shard")); });
}

TEST_P(ControlTest, AgreeThrowsOnEveryRankWhatTheLowestFailedOneSays) {
  on_each_rank([](Communicator& comm) {
    const int first_bad = comm.size() / 2;
    std::exception_ptr mine;
    if (comm.rank() >= first_bad) {
      mine = std::make_exception_ptr(DataError("line 7 of rank " + std::to_string(comm.rank()) + " is bad"));
    }
    const std::string says = "line 7 of rank " + std::to_string(mine ? comm.rank() : first_bad) + " is bad";
    try {
      agree(comm, mine, "reading the shard");
      ADD_FAILURE() << "nothing thrown";
    } catch (const DataError& error) {
      EXPECT_TRUE(mine);
      EXPECT_EQ(error.what(), says);
    } catch (const PeerError& error) {
      EXPECT_FALSE(mine);
      EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
      EXPECT_EQ(error.what(), "rank " + std::to_string(first_bad) + " failed in reading the shard: " + says);
    }
    comm.barrier(kTag);  // The communicator is whole: agreement is not a failure of its own.
  });
}

RONDO_INSTANTIATE_RANK_TEST(ControlTest);

}  // namespace
}  // namespace rondo
