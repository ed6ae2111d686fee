#include "sharding/embedding/row_kernels.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <functional>
#include <vector>

#include "sharding/base/random.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(11, 0, RandomPurpose::kTest);
const std::vector<int64_t> kDims{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 200};

template <typename T>
std::vector<T> values(int64_t n, uint64_t stream) {
  std::vector<T> result(static_cast<size_t>(n));
  for (size_t i = 0; i < result.size(); ++i) result[i] = static_cast<T>(kRandom.normal(stream, i));
  return result;
}

/// Runs `body` once for every instruction set that this processor has and the kernels were compiled for.
void for_each_target(const std::function<void()>& body) {
  int runs = 0;
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1, ++runs) {
    const int64_t target = left & -left;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  EXPECT_GE(runs, 1);
}

template <typename T>
class RowKernelsTest : public ::testing::Test {};
using RowTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RowKernelsTest, RowTypes);

template <typename T>
void compare_updates(RowOptimizerKind kind, int64_t dim) {
  const RowOptimizerOptions options{.kind = kind, .learning_rate = 0.1, .weight_decay = 0.03};
  const int64_t record = dim + state_width(kind, dim), rows = 3;
  std::vector<T> vectorised = values<T>(rows * record, 1);
  for (T& value : vectorised) value = std::abs(value);  // states are not negative
  std::vector<T> scalar = vectorised;
  for (int64_t step = 1; step <= 3; ++step) {
    const std::vector<T> gradients = values<T>(rows * dim, static_cast<uint64_t>(step + 10));
    const auto shared = make_row_step<T>(options, step, 0.9);
    std::vector<T*> row;
    std::vector<const T*> gradient;
    for (int64_t r = 0; r < rows; ++r) {
      row.push_back(vectorised.data() + r * record);
      gradient.push_back(gradients.data() + r * dim);
      T* const plain = scalar.data() + r * record;
      update_row(shared, plain, plain + dim, gradient.back(), dim);
    }
    update_rows(shared, row.data(), gradient.data(), rows, dim);
  }
  EXPECT_EQ(vectorised, scalar) << "optimizer " << static_cast<int>(kind) << ", dim " << dim;
}

TYPED_TEST(RowKernelsTest, VectorisedStepIsTheScalarStepBitForBit) {
  for_each_target([] {
    for (const int64_t dim : kDims) {
      for (const auto kind : {RowOptimizerKind::kSgd, RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam}) {
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

TEST(RowMath, RowWiseAdagradByHand) {
  const auto step = make_row_step<double>({.kind = RowOptimizerKind::kRowWiseAdagrad, .learning_rate = 0.5}, 1, 2.0);
  std::vector<double> row{1.0, 2.0}, state{3.0};
  const std::vector<double> gradient{1.0, -1.0};
  update_row(step, row.data(), state.data(), gradient.data(), 2);
  EXPECT_DOUBLE_EQ(state[0], 4.0);
  EXPECT_NEAR(row[0], 0.5, 1e-8);
  EXPECT_NEAR(row[1], 2.5, 1e-8);
}

}  // namespace
}  // namespace rondo
