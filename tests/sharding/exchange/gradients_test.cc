#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "sharding/exchange/gather_vectors.h"
#include "sharding/exchange/gradient_buckets.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

class GradientsTest : public RankTest {};

/// A gradient whose entries are whole numbers, so that every order of summation gives the same.
at::Tensor gradient_of(int rank, size_t parameter, at::IntArrayRef shape, at::ScalarType type) {
  at::Tensor gradient = at::empty(shape, at::kDouble);
  for (int64_t i = 0; i < gradient.numel(); ++i) {
    gradient.mutable_data_ptr<double>()[i] =
        static_cast<double>((rank + 1) * (static_cast<int64_t>(parameter) + 1) + i);
  }
  return gradient.to(type);
}

TEST_P(GradientsTest, BucketsSumOverRanksInTheirOrder) {
  on_each_rank([](Communicator& comm) {
    const std::vector<std::vector<int64_t>> shapes{{3, 4}, {5}, {0, 2}, {7, 1}, {1}, {2, 2}};
    const std::vector<at::ScalarType> types{at::kFloat, at::kFloat, at::kFloat, at::kDouble, at::kDouble, at::kFloat};
    for (const int64_t bucket_bytes : {1, 40, 1 << 20}) {
      std::vector<at::Tensor> parameters;
      for (size_t p = 0; p < shapes.size(); ++p) {
        parameters.push_back(at::zeros(shapes[p], types[p]).set_requires_grad(true));
      }
      GradientBuckets buckets(parameters, comm, bucket_bytes);
      for (int step = 0; step < 2; ++step) {
        for (size_t p = 0; p < shapes.size(); ++p) {
          // Parameter 1 took part in no loss on rank 0, parameter 4 in none anywhere.
          const bool absent = (p == 1 && comm.rank() == 0) || p == 4;
          parameters[p].mutable_grad() = absent ? at::Tensor() : gradient_of(comm.rank(), p, shapes[p], types[p]);
        }
        buckets.finish();
        for (size_t p = 0; p < shapes.size(); ++p) {
          at::Tensor expected = at::zeros(shapes[p], types[p]);
          for (int rank = p == 1 ? 1 : 0; rank < comm.size() && p != 4; ++rank) {
            expected.add_(gradient_of(rank, p, shapes[p], types[p]));
          }
          EXPECT_TRUE(parameters[p].grad().equal(expected)) << "parameter " << p << ", buckets of " << bucket_bytes;
        }
      }
    }
  });
}

TEST_P(GradientsTest, GatheredVectorsCarryTheGradientsOfAllRanks) {
  on_each_rank([](Communicator& comm) {
    std::vector<int64_t> rows;
    for (int rank = 0; rank < comm.size(); ++rank) rows.push_back(rank == 1 ? 0 : rank + 2);
    const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    const int64_t first = std::accumulate(rows.begin(), rows.begin() + comm.rank(), int64_t{0});
    const at::Tensor expected = at::arange(total * 3, at::kDouble).view({total, 3});
    at::Tensor mine = expected.narrow(0, first, rows[comm.rank()]).clone().set_requires_grad(true);
    const at::Tensor all = gather_vectors(comm, mine, rows);
    EXPECT_TRUE(all.equal(expected));
    // The loss of rank r is (r + 1) times the sum of squares of all vectors.
    all.mul(all).sum().mul(comm.rank() + 1.0).backward();
    const double ranks = comm.size() * (comm.size() + 1) / 2.0;
    EXPECT_TRUE(mine.grad().equal(mine.detach().mul(2.0 * ranks)));
  });
}

RONDO_INSTANTIATE_RANK_TEST(GradientsTest);

}  // namespace
}  // namespace rondo
