#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

constexpr CallTag kTag{Channel::kExchange, "test values"};

/// Rows of a segment; zero for some pairs, more than a note holds for others.
int64_t rows_between(int source, int target) { return (source * 5 + target * 3) % 4 * (source == 1 ? 700 : 1); }

std::vector<int64_t> rows_from(int source, int world) {
  std::vector<int64_t> rows;
  for (int target = 0; target < world; ++target) rows.push_back(rows_between(source, target));
  return rows;
}

std::vector<int64_t> rows_to(int target, int world) {
  std::vector<int64_t> rows;
  for (int source = 0; source < world; ++source) rows.push_back(rows_between(source, target));
  return rows;
}

int64_t total(const std::vector<int64_t>& rows) { return std::accumulate(rows.begin(), rows.end(), int64_t{0}); }

template <typename T>
at::Tensor tensor_of(const std::vector<T>& values, int64_t columns, at::ScalarType dtype) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size()) / columns, columns}, dtype);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<T>());
  return tensor;
}

template <typename T>
std::vector<T> values_of(const at::Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<T>();
  return {data, data + tensor.numel()};
}

class AllToAllTest : public RankTest {};

TEST_P(AllToAllTest, DeliversUnevenSegmentsOfTwoColumns) {
  on_each_rank([](Communicator& comm) {
    const auto value = [](int source, int target, int64_t i) { return 1'000'000 * source + 10'000 * target + i; };
    std::vector<int64_t> input;
    std::vector<int64_t> expected;
    for (int peer = 0; peer < comm.size(); ++peer) {
      for (int64_t i = 0; i < 2 * rows_between(comm.rank(), peer); ++i) input.push_back(value(comm.rank(), peer, i));
      for (int64_t i = 0; i < 2 * rows_between(peer, comm.rank()); ++i) {
        expected.push_back(value(peer, comm.rank(), i));
      }
    }
    const auto receive_rows = rows_to(comm.rank(), comm.size());
    at::Tensor output = at::empty({total(receive_rows), 2}, at::kLong);
    comm.all_to_all(tensor_of(input, 2, at::kLong), rows_from(comm.rank(), comm.size()), output, receive_rows, kTag)
        ->wait();
    EXPECT_EQ(values_of<int64_t>(output), expected);
  });
}

RONDO_INSTANTIATE_RANK_TEST(AllToAllTest);

class AllReduceTest : public RankTest {};

TEST_P(AllReduceTest, AddsInRankOrder) {
  on_each_rank([](Communicator& comm) {
    for (const int64_t count : {0, 1, 5, 977, 8'193, 100'003}) {
      // Values of very different size: another order of summation gives other last bits.
      const auto value = [](int rank, int64_t i) {
        return static_cast<float>((i % 13 + 1) * (rank % 2 == 0 ? 1e6 : 0.3));
      };
      std::vector<float> input;
      std::vector<float> expected;
      for (int64_t i = 0; i < count; ++i) {
        input.push_back(value(comm.rank(), i));
        float sum = value(0, i);
        for (int rank = 1; rank < comm.size(); ++rank) sum += value(rank, i);
        expected.push_back(sum);
      }
      at::Tensor values = tensor_of(input, 1, at::kFloat);
      comm.all_reduce(values, kTag)->wait();
      EXPECT_EQ(values_of<float>(values), expected) << count << " values";
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(AllReduceTest);

class ControlTest : public RankTest {};

TEST_P(ControlTest, HostNumbersMeet) {
  on_each_rank([](Communicator& comm) {
    const int world = comm.size();
    EXPECT_EQ(broadcast_value(comm, 40 + comm.rank(), "value"), 40);
    EXPECT_EQ(sum_of(comm, comm.rank() + 1, "sum"), world * (world + 1) / 2);
    EXPECT_EQ(largest_of(comm, -comm.rank(), "largest"), 0);
    std::vector<int64_t> sizes(static_cast<size_t>(world));
    for (int rank = 0; rank < world; ++rank) sizes[static_cast<size_t>(rank)] = rank * rank;
    EXPECT_EQ(gather_sizes(comm, int64_t{comm.rank()} * comm.rank(), "sizes"), sizes);
    comm.barrier({Channel::kControl, "end"});
  });
}

RONDO_INSTANTIATE_RANK_TEST(ControlTest);

}  // namespace
}  // namespace rondo
