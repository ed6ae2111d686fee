#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <numeric>
#include <utility>
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
      GradientBuckets buckets(parameters, comm, {.bucket_bytes = bucket_bytes, .overlap = false});
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

/// A model as a step has it: two layers, vectors of all ranks, a loss. Layer 1 takes no part on rank 0 in odd steps.
struct TinyModel {
  std::vector<at::Tensor> parameters;

  TinyModel() {
    for (int p = 0; p < 3; ++p) {
      parameters.push_back(at::arange(6, at::kFloat).add(p + 1).div(10).view({2, 3}).set_requires_grad(true));
    }
  }

  void backward(Communicator& comm, int step) const {
    const std::vector<int64_t> rows(static_cast<size_t>(comm.size()), 2);
    at::Tensor vectors = parameters[0].mul(comm.rank() + step + 0.3);
    if (comm.rank() != 0 || step % 2 == 0) vectors = vectors.add(parameters[1].square());
    const at::Tensor all = gather_vectors(comm, vectors, rows);
    all.mul(parameters[2].sum()).square().sum().backward();
  }
};

/// Gradients after each of four steps; how many buckets went during backward.
std::pair<std::vector<at::Tensor>, int64_t> gradients_of_steps(Communicator& comm, bool overlap) {
  const TinyModel model;
  GradientBuckets buckets(model.parameters, comm, {.bucket_bytes = 1, .overlap = overlap});
  std::vector<at::Tensor> gradients;
  for (int step = 0; step < 4; ++step) {
    for (at::Tensor parameter : model.parameters) parameter.mutable_grad() = at::Tensor();
    model.backward(comm, step);
    buckets.finish();
    for (const at::Tensor& parameter : model.parameters) gradients.push_back(parameter.grad().clone());
  }
  return {gradients, buckets.sent_early()};
}

TEST_P(GradientsTest, BucketsThatGoDuringBackwardCarryTheSameNumbers) {
  on_each_rank([](Communicator& comm) {
    const auto [after, none] = gradients_of_steps(comm, /*overlap=*/false);
    const auto [during, early] = gradients_of_steps(comm, /*overlap=*/true);
    EXPECT_EQ(none, 0);
    // The last parameter's bucket is full first but waits for the gathered vectors' call. Where parameter 1 has no
    // gradient, its bucket and the one behind it go at the end.
    EXPECT_EQ(early, comm.size() == 1 ? 0 : comm.rank() == 0 ? 8 : 12);
    for (size_t i = 0; i < after.size(); ++i) EXPECT_TRUE(during[i].equal(after[i])) << i;
    EXPECT_GT(during[0].abs().max().item<float>(), 0.0F);
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
