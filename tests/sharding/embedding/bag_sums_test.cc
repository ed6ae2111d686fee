#include "sharding/embedding/bag_sums.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "sharding/embedding/row_math.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(3, 0, RandomPurpose::kTest);
constexpr int64_t kKeys = 60, kBags = 150;

template <typename T>
constexpr at::ScalarType kTypeOf = sizeof(T) == 8 ? at::kDouble : at::kFloat;

template <typename T>
at::Tensor random_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  at::Tensor matrix = at::empty({rows, columns}, kTypeOf<T>);
  for (int64_t i = 0; i < matrix.numel(); ++i) {
    matrix.mutable_data_ptr<T>()[i] = static_cast<T>(kRandom.uniform(seed, static_cast<uint64_t>(i)) - 0.5);
  }
  return matrix;
}

/// Bags of 0 to 40 entries over kKeys keys, many of them the same.
template <typename T>
BagList random_bags(bool weighted) {
  BagList bags{.positions = {}, .offsets = at::empty({kBags + 1}, at::kLong), .weights = {}};
  int64_t* const offsets = bags.offsets.mutable_data_ptr<int64_t>();
  offsets[0] = 0;
  for (int64_t b = 0; b < kBags; ++b) {
    offsets[b + 1] = offsets[b] + static_cast<int64_t>(kRandom.below(41, 1, static_cast<uint64_t>(b)));
  }
  bags.positions = at::empty({offsets[kBags]}, at::kLong);
  for (int64_t i = 0; i < offsets[kBags]; ++i) {
    const double skewed = std::pow(kRandom.uniform(7, static_cast<uint64_t>(i)), 3.0);
    bags.positions.mutable_data_ptr<int64_t>()[i] = static_cast<int64_t>(skewed * kKeys);
  }
  if (weighted) bags.weights = random_matrix<T>(offsets[kBags], 1, 8).view({-1});
  return bags;
}

/// Calls body(bag, key, weight) for each entry, in order.
template <typename T, typename Body>
void for_each_entry(const BagList& bags, const Body& body) {
  const int64_t* const offsets = bags.offsets.const_data_ptr<int64_t>();
  for (int64_t b = 0; b < kBags; ++b) {
    for (int64_t i = offsets[b]; i < offsets[b + 1]; ++i) {
      body(b, bags.positions.const_data_ptr<int64_t>()[i],
           bags.weights.defined() ? bags.weights.const_data_ptr<T>()[i] : T{1});
    }
  }
}

template <typename T>
class BagSumsTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(BagSumsTest, Types);

template <typename T>
void expect_pooled(int64_t dim, bool weighted) {
  const TableSpec spec{.name = "item",
                       .dim = dim,
                       .key_space = KeySpace::kDense,
                       .rows = kKeys,
                       .buckets = 4,
                       .row_type = sizeof(T) == 8 ? RowType::kFloat64 : RowType::kFloat32};
  RowStore store(spec, {0, spec.buckets}, 1);
  std::vector<uint64_t> keys(kKeys);
  std::iota(keys.begin(), keys.end(), uint64_t{0});
  std::vector<int64_t> slots(kKeys);
  store.find_or_create(keys, slots);
  slots[5] = -1;  // a key without a row
  at::Tensor rows = at::empty({kKeys, dim}, kTypeOf<T>);
  store.gather(slots, rows);

  const BagList bags = random_bags<T>(weighted);
  std::vector<T> expected(static_cast<size_t>(kBags * dim));
  for_each_entry<T>(bags, [&](int64_t bag, int64_t key, T weight) {
    for (int64_t c = 0; c < dim; ++c) {
      T& sum = expected[static_cast<size_t>(bag * dim + c)];
      sum = std::fma(weight, rows.const_data_ptr<T>()[key * dim + c], sum);
    }
  });
  // Some columns of a wider matrix, as those of one holder are.
  const at::Tensor wide = random_matrix<T>(kBags, dim + 3, 4), target = wide.narrow(1, 2, dim);
  pool_slots(store, slots, bags, target);
  const at::Tensor got = target.contiguous();
  EXPECT_EQ(std::vector<T>(got.template const_data_ptr<T>(), got.template const_data_ptr<T>() + got.numel()), expected);
}

TYPED_TEST(BagSumsTest, PoolsRowsWhereTheyLie) {
  for (const int64_t dim : {1, 3, 16, 17, 64, 100}) {
    for (const bool weighted : {false, true}) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(testing::Message() << "dim " << dim << ", weighted " << weighted << ", threads " << threads);
        set_threads(threads);
        expect_pooled<TypeParam>(dim, weighted);
      }
    }
  }
  set_threads(1);
}

/// Two sources: keys with a gradient each, then bags over other keys; both name rows in an order of their own.
template <typename T>
void expect_added(int64_t dim, bool weighted) {
  constexpr int64_t kRows = 90;  // some of which nobody names
  const at::Tensor of_keys = random_matrix<T>(kKeys, dim, 5), of_bags = random_matrix<T>(kBags, dim + 2, 6);
  const BagList bags = random_bags<T>(weighted);
  std::vector<int64_t> first(kKeys), second(kKeys);
  for (int64_t i = 0; i < kKeys; ++i) {
    first[static_cast<size_t>(i)] = i;
    second[static_cast<size_t>(i)] = 30 + (i * 7) % kKeys;
  }
  std::vector<T> expected(static_cast<size_t>(kRows * dim));
  const auto add = [&](int64_t row, const T* gradient, T weight) {
    for (int64_t c = 0; c < dim; ++c) {
      T& sum = expected[static_cast<size_t>(row * dim + c)];
      sum = std::fma(weight, gradient[c], sum);
    }
  };
  for (int64_t i = 0; i < kKeys; ++i) add(i, of_keys.const_data_ptr<T>() + i * dim, T{1});
  for_each_entry<T>(bags, [&](int64_t bag, int64_t key, T weight) {
    add(second[static_cast<size_t>(key)], of_bags.const_data_ptr<T>() + bag * (dim + 2) + 1, weight);
  });

  RowTerms terms;
  const std::vector<GradientSource> sources{{of_keys, nullptr, first}, {of_bags.narrow(1, 1, dim), &bags, second}};
  terms.collect(sources, kRows, dim, kTypeOf<T>);
  terms.collect(sources, kRows, dim, kTypeOf<T>);  // used again
  ASSERT_EQ(terms.rows(), kRows);
  for (const int64_t begin : {0, 13, 60}) {
    const at::Tensor sums = at::empty({30, dim}, kTypeOf<T>);
    terms.sum(begin, sums);
    for (int64_t i = 0; i < sums.numel(); ++i) {
      EXPECT_EQ(sums.template const_data_ptr<T>()[i], expected[static_cast<size_t>(begin * dim + i)]);
    }
  }
  GradientBlock block;
  size_t in_place = 0;
  for (const int64_t begin : {0, 45}) {
    terms.resolve(begin, 45, block);
    for (size_t i = 0; i < 45; ++i) {
      const auto* const row = static_cast<const T*>(block.rows[i]);
      const T* const wanted = expected.data() + (begin + static_cast<int64_t>(i)) * dim;
      EXPECT_TRUE(std::equal(row, row + dim, wanted)) << "row " << begin + static_cast<int64_t>(i);
      EXPECT_EQ(block.squares.data<T>()[i], sum_of_products(wanted, wanted, dim));
    }
    in_place += block.rows.size() - block.summed.size();
  }
  EXPECT_GT(in_place, 0U) << "the only term of a row is used where it lies";
}

TYPED_TEST(BagSumsTest, AddsTheGradientsOfARowInTheOrderOfTheSources) {
  for (const int64_t dim : {1, 3, 16, 17, 64, 100}) {
    for (const bool weighted : {false, true}) {
      SCOPED_TRACE(testing::Message() << "dim " << dim << ", weighted " << weighted);
      expect_added<TypeParam>(dim, weighted);
    }
  }
}

}  // namespace
}  // namespace rondo
