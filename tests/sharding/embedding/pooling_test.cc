#include "sharding/embedding/pooling.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(5, 0, RandomPurpose::kTest);

at::Tensor random_tensor(at::IntArrayRef shape, uint64_t stream, at::ScalarType type) {
  at::Tensor tensor = at::empty(shape, at::kDouble);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.mutable_data_ptr<double>()[i] = kRandom.normal(stream, static_cast<uint64_t>(i));
  }
  return tensor.to(type);
}

struct Bags {
  at::Tensor positions, offsets;
};

/// `bags` bags of 0 to 6 entries, over `rows` rows; every third is empty.
Bags make_bags(int64_t bags, int64_t rows) {
  std::vector<int64_t> positions, offsets{0};
  for (int64_t b = 0; b < bags; ++b) {
    const int64_t size = b % 3 == 0 ? 0 : static_cast<int64_t>(kRandom.below(7, 1, static_cast<uint64_t>(b)));
    for (int64_t i = 0; i < size; ++i) {
      positions.push_back(static_cast<int64_t>(kRandom.below(static_cast<uint64_t>(rows), 2, positions.size())));
    }
    offsets.push_back(static_cast<int64_t>(positions.size()));
  }
  return {at::tensor(positions, at::kLong), at::tensor(offsets, at::kLong)};
}

/// The same by ATen: select, weigh, add to the bags. Differentiable.
at::Tensor plain_pool(const at::Tensor& rows, const Bags& bags, const at::Tensor& weights) {
  at::Tensor selected = at::index_select(rows, 0, bags.positions);
  if (weights.defined()) selected = selected.mul(weights.unsqueeze(1));
  std::vector<int64_t> bag_of;
  for (int64_t b = 0; b + 1 < bags.offsets.size(0); ++b) {
    const int64_t* const offset = bags.offsets.const_data_ptr<int64_t>();
    bag_of.insert(bag_of.end(), static_cast<size_t>(offset[b + 1] - offset[b]), b);
  }
  return at::zeros({bags.offsets.size(0) - 1, rows.size(1)}, rows.options().requires_grad(false))
      .index_add(0, at::tensor(bag_of, at::kLong), selected);
}

void expect_equal_to_plain(int64_t bag_count, int64_t row_count, int64_t dim, bool weighted) {
  SCOPED_TRACE(concat(bag_count, " bags, ", row_count, " rows, dim ", dim, weighted ? ", weighted" : ""));
  const Bags bags = make_bags(bag_count, row_count);
  const int64_t n = bags.positions.size(0);
  at::Tensor got_rows = random_tensor({row_count, dim}, 7, at::kDouble).set_requires_grad(true);
  at::Tensor rows = got_rows.detach().clone().set_requires_grad(true);
  at::Tensor got_weights, weights;
  if (weighted) {
    got_weights = random_tensor({n}, 8, at::kDouble).set_requires_grad(true);
    weights = got_weights.detach().clone().set_requires_grad(true);
  }
  const at::Tensor upstream = random_tensor({bag_count, dim}, 9, at::kDouble);
  const at::Tensor got = pool_rows(got_rows, bags.positions, bags.offsets, got_weights);
  const at::Tensor expected = plain_pool(rows, bags, weights);
  got.backward(upstream);
  expected.backward(upstream);
  EXPECT_TRUE(got.allclose(expected, 1e-12, 1e-12));
  EXPECT_TRUE(got_rows.grad().allclose(rows.grad(), 1e-12, 1e-12));
  if (weighted) {
    EXPECT_TRUE(got_weights.grad().allclose(weights.grad(), 1e-12, 1e-12));
  }
}

TEST(Pooling, ForwardAndBackwardAgreeWithATen) {
  for (const bool weighted : {false, true}) {
    for (const int64_t dim : {1, 5, 16, 67}) {
      expect_equal_to_plain(0, 3, dim, weighted);
      expect_equal_to_plain(1, 3, dim, weighted);
      expect_equal_to_plain(40, 9, dim, weighted);
      expect_equal_to_plain(301, 500, dim, weighted);
    }
  }
}

TEST(Pooling, NumberOfThreadsChangesNoBit) {
  const Bags bags = make_bags(3000, 700);
  const at::Tensor upstream = random_tensor({3000, 20}, 1, at::kFloat);
  std::vector<at::Tensor> results;
  for (const int count : {1, 3}) {
    set_threads(count);
    at::Tensor rows = random_tensor({700, 20}, 2, at::kFloat).set_requires_grad(true);
    at::Tensor weights = random_tensor({bags.positions.size(0)}, 3, at::kFloat).set_requires_grad(true);
    const at::Tensor pooled = pool_rows(rows, bags.positions, bags.offsets, weights);
    pooled.backward(upstream);
    results.insert(results.end(), {pooled.detach(), rows.grad(), weights.grad()});
  }
  set_threads(1);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(results[i].equal(results[i + 3])) << i;
}

TEST(Pooling, EmptyBagsAreZeroAndRowsOutsideBagsGetZeroGradient) {
  at::Tensor rows = at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble).view({2, 2}).set_requires_grad(true);
  const at::Tensor positions = at::tensor(std::vector<int64_t>{1}), offsets = at::tensor(std::vector<int64_t>{0, 0, 1});
  const at::Tensor pooled = pool_rows(rows, positions, offsets, at::Tensor());
  EXPECT_TRUE(pooled.equal(at::tensor({0.0, 0.0, 3.0, 4.0}, at::kDouble).view({2, 2})));
  pooled.sum().backward();
  EXPECT_TRUE(rows.grad().equal(at::tensor({0.0, 0.0, 1.0, 1.0}, at::kDouble).view({2, 2})));
}

TEST(Pooling, MeanWeights) {
  const at::Tensor offsets = at::tensor(std::vector<int64_t>{0, 2, 2, 3, 7});
  const at::Tensor weights = mean_weights(offsets, at::empty({0}, at::kDouble));
  EXPECT_TRUE(weights.equal(at::tensor({0.5, 0.5, 1.0, 0.25, 0.25, 0.25, 0.25}, at::kDouble)));
}

TEST(Pooling, RefusesBrokenBags) {
  const at::Tensor rows = at::zeros({3, 2});
  const auto ints = [](std::vector<int64_t> values) { return at::tensor(values, at::kLong); };
  EXPECT_THROW(pool_rows(rows, ints({3}), ints({0, 1}), at::Tensor()), InternalError);
  EXPECT_THROW(pool_rows(rows, ints({-1}), ints({0, 1}), at::Tensor()), InternalError);
  EXPECT_THROW(pool_rows(rows, ints({1, 2}), ints({0, 1}), at::Tensor()), InternalError);
  EXPECT_THROW(pool_rows(rows, ints({1, 2}), ints({0, 2, 1, 2}), at::Tensor()), InternalError);
  EXPECT_THROW(pool_rows(rows, ints({1}), ints({0, 1}), at::zeros({1}, at::kDouble)), InternalError);
}

}  // namespace
}  // namespace rondo
