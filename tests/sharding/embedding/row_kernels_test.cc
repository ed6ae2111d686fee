#include "sharding/embedding/row_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "sharding/base/half.h"
#include "sharding/base/random.h"
#include "tests/support/each_target.h"

namespace rondo {
namespace {

using testing::for_each_target;

constexpr CounterRandom kRandom(11, 0, RandomPurpose::kTest);
constexpr RowOptimizerKind kLearningKinds[] = {RowOptimizerKind::kSgd, RowOptimizerKind::kAdagrad,
                                               RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam,
                                               RowOptimizerKind::kRowWiseAdam};
const std::vector<int64_t> kDims{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 200};

template <typename T>
std::vector<T> values(int64_t n, uint64_t stream) {
  std::vector<T> result(static_cast<size_t>(n));
  for (size_t i = 0; i < result.size(); ++i) result[i] = static_cast<T>(kRandom.normal(stream, i));
  return result;
}

template <typename T>
class RowKernelsTest : public ::testing::Test {};
using RowTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RowKernelsTest, RowTypes);

/// Rows of type V with their states, not negative.
template <typename V>
struct Rows {
  Rows(int64_t rows, int64_t dim, int64_t state) : values(static_cast<size_t>(rows * dim)) {
    const auto drawn = rondo::values<ComputeType<V>>(rows * (dim + state), 1);
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (sizeof(V) == sizeof(uint16_t)) {
        values[i] = nearest<V>(drawn[i]);
      } else {
        values[i] = drawn[i];
      }
    }
    for (size_t i = values.size(); i < drawn.size(); ++i) states.push_back(std::abs(drawn[i]));
  }
  friend bool operator==(const Rows&, const Rows&) = default;

  std::vector<V> values;
  std::vector<ComputeType<V>> states;
};

template <typename V>
void compare_updates(RowOptimizerKind kind, int64_t dim) {
  using T = ComputeType<V>;
  const RowOptimizerOptions options{.kind = kind, .learning_rate = 0.1, .weight_decay = 0.03};
  const int64_t state = state_width(kind, dim), rows = 3;
  Rows<V> vectorised(rows, dim, state), scalar = vectorised;
  for (int64_t step = 1; step <= 3; ++step) {
    const std::vector<T> gradients = values<T>(rows * dim, static_cast<uint64_t>(step + 10));
    const auto shared = make_row_step<T>(options, step, 0.9);
    std::vector<T> squares(rows);
    sums_of_squares(gradients.data(), rows, dim, squares.data());
    std::vector<LearningRow<V>> learning;
    for (int64_t r = 0; r < rows; ++r) {
      const T* const gradient = gradients.data() + r * dim;
      const T square = sum_of_products(gradient, gradient, dim), scale = static_cast<T>(r == 1 ? 0.3 : 1.0);
      EXPECT_EQ(squares[static_cast<size_t>(r)], square) << "dim " << dim;
      const auto learns = [&](Rows<V>& in) {
        return LearningRow<V>{in.values.data() + r * dim,
                              in.states.data() + r * state,
                              gradient,
                              scale,
                              square / static_cast<T>(dim),
                              kRandom.sequence(static_cast<uint64_t>(step * rows + r)),
                              /*first_column=*/5 * r};
      };
      learning.push_back(learns(vectorised));
      update_row(shared, learns(scalar), dim);
    }
    update_rows<V>(shared, learning, dim);
  }
  EXPECT_TRUE(vectorised == scalar) << "optimizer " << static_cast<int>(kind) << ", dim " << dim;
}

template <typename V>
class UpdateRowsTest : public ::testing::Test {};
using ValueTypes = ::testing::Types<float, double, Float16, BFloat16>;
TYPED_TEST_SUITE(UpdateRowsTest, ValueTypes);

TYPED_TEST(UpdateRowsTest, VectorisedStepIsTheScalarStepBitForBit) {
  for_each_target([] {
    for (const int64_t dim : kDims) {
      for (const auto kind : kLearningKinds) {
        compare_updates<TypeParam>(kind, dim);
      }
    }
  });
}

TYPED_TEST(RowKernelsTest, SumsAgreeWithPlainLoops) {
  using T = TypeParam;
  for_each_target([] {
    for (const int64_t dim : kDims) {
      const std::vector<T> rows = values<T>(5 * dim, 3), weights = values<T>(4, 4);
      const std::vector<int64_t> positions{4, 0, 0, 2};
      for (const bool weighted : {false, true}) {
        std::vector<T> out(static_cast<size_t>(dim) + 1, T{-7});
        weighted_sum<T>({rows.data(), positions.data(), weighted ? weights.data() : nullptr, 4, dim}, out.data());
        for (int64_t c = 0; c < dim; ++c) {
          double expected = 0.0;
          for (size_t i = 0; i < 4; ++i) {
            expected +=
                (weighted ? weights[i] : 1.0) * static_cast<double>(rows[static_cast<size_t>(positions[i] * dim + c)]);
          }
          EXPECT_NEAR(out[static_cast<size_t>(c)], expected, sizeof(T) == 4 ? 1e-5 : 1e-14) << dim << " column " << c;
        }
        EXPECT_EQ(out.back(), T{-7}) << "wrote beyond the row, dim " << dim;
      }
      double expected = 0.0;
      for (int64_t c = 0; c < dim; ++c) expected += static_cast<double>(rows[c]) * static_cast<double>(rows[dim + c]);
      EXPECT_NEAR(dot(rows.data(), rows.data() + dim, dim), expected, sizeof(T) == 4 ? 1e-4 : 1e-12) << dim;
      EXPECT_EQ(dot(rows.data(), rows.data() + dim, dim), sum_of_products(rows.data(), rows.data() + dim, dim)) << dim;
    }
  });
}

TYPED_TEST(RowKernelsTest, AddsRowsInPlace) {
  using T = TypeParam;
  for_each_target([] {
    for (const int64_t dim : kDims) {
      const std::vector<T> from = values<T>(dim, 5);
      std::vector<T> to = values<T>(dim + 1, 6), expected = to;
      for (int64_t c = 0; c < dim; ++c) expected[static_cast<size_t>(c)] += from[static_cast<size_t>(c)];
      add_row(to.data(), from.data(), dim);
      EXPECT_EQ(to, expected) << dim;
    }
  });
}

/// One step on the row {1, 2} with gradient {1, -1}, scaled.
struct ByHand {
  std::vector<double> values{1.0, 2.0}, state;
};
ByHand step_by_hand(const RowOptimizerOptions& options, std::vector<double> state, double scale, int64_t step) {
  ByHand row{.state = std::move(state)};
  const std::vector<double> gradient{1.0, -1.0};
  update_row(make_row_step<double>(options, step, 2.0),
             LearningRow<double>{row.values.data(), row.state.data(), gradient.data(), scale, 1.0}, 2);
  return row;
}

TEST(RowMath, AdagradByHand) {
  const ByHand row = step_by_hand({.kind = RowOptimizerKind::kAdagrad, .learning_rate = 0.5}, {3.0, 8.0}, 1.0, 1);
  EXPECT_EQ(row.state, (std::vector<double>{4.0, 9.0}));
  EXPECT_NEAR(row.values[0], 0.5, 1e-8);
  EXPECT_NEAR(row.values[1], 2.0 + 1.0 / 3.0, 1e-8);
}

TEST(RowMath, RowWiseAdagradByHand) {
  const ByHand row = step_by_hand({.kind = RowOptimizerKind::kRowWiseAdagrad, .learning_rate = 0.5}, {3.0}, 1.0, 1);
  EXPECT_EQ(row.state, (std::vector<double>{4.0}));
  EXPECT_NEAR(row.values[0], 0.5, 1e-8);
  EXPECT_NEAR(row.values[1], 2.5, 1e-8);
}

TEST(RowMath, RowWiseAdamByHand) {
  const ByHand row = step_by_hand(
      {.kind = RowOptimizerKind::kRowWiseAdam, .learning_rate = 0.25, .beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0.5},
      {0.0, 0.0, 0.0}, 3.0, 1);
  EXPECT_EQ(row.state, (std::vector<double>{1.5, -1.5, 2.25}));  // m, then v of mean square 9
  EXPECT_NEAR(row.values[0], 0.75 * 1.0 - 0.5, 1e-8);            // m^ / sqrt(v^) is 3 / 3
  EXPECT_NEAR(row.values[1], 0.75 * 2.0 + 0.5, 1e-8);
}

}  // namespace
}  // namespace rondo
