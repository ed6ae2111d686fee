#include "trainer/nn/dropout.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sharding/base/error.h"

namespace rondo {
namespace {

const StepContext kTraining{.seed = 3, .step = 5, .training = true};

TEST(DropoutTest, KeepsTheRightShareAndTheMean) {
  const DropoutSite site(0.1, kTraining, 2);
  const at::Tensor factors = dropout_factors(site, 42, 1000, 129, at::kDouble);
  const double kept = (factors > 0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(kept, 0.9, 4 * std::sqrt(0.09 / 129'000));
  EXPECT_NEAR(factors.max().item<double>(), 1 / 0.9, 1e-4);
  // Columns and rows do not repeat each other.
  EXPECT_NEAR(
      ((factors.narrow(1, 0, 128) > 0) == (factors.narrow(1, 1, 128) > 0)).to(at::kDouble).mean().item<double>(), 0.82,
      0.005);
  EXPECT_NEAR(
      ((factors.narrow(0, 0, 999) > 0) == (factors.narrow(0, 1, 999) > 0)).to(at::kDouble).mean().item<double>(), 0.82,
      0.005);
}

TEST(DropoutTest, IsAFunctionOfSeedStepSiteAndText) {
  const auto factors = [](const StepContext& context, uint64_t site, uint64_t digest) {
    return dropout_factors(DropoutSite(0.5, context, site), digest, 3, 50, at::kDouble);
  };
  const at::Tensor first = factors(kTraining, 1, 42);
  EXPECT_TRUE(first.equal(factors(kTraining, 1, 42)));
  EXPECT_FALSE(first.equal(factors(kTraining, 2, 42)));
  EXPECT_FALSE(first.equal(factors(kTraining, 1, 43)));
  EXPECT_FALSE(first.equal(factors({.seed = 4, .step = 5, .training = true}, 1, 42)));
  EXPECT_FALSE(first.equal(factors({.seed = 3, .step = 6, .training = true}, 1, 42)));
}

TEST(DropoutTest, APackedBatchHasTheFactorsOfItsTexts) {
  const DropoutSite site(0.5, kTraining, 1);
  const PackedRowsPtr rows = make_packed_rows({1, 2, 3, 4, 5}, {0, 2, 2, 5}, {7, 8, 9});
  const at::Tensor factors = dropout_factors({rows, site}, 11, at::kDouble);
  EXPECT_TRUE(factors.narrow(0, 0, 2).equal(dropout_factors(site, 7, 2, 11, at::kDouble)));
  EXPECT_TRUE(factors.narrow(0, 2, 3).equal(dropout_factors(site, 9, 3, 11, at::kDouble)));
}

TEST(DropoutTest, DropsNothingWhenNotTraining) {
  EXPECT_FALSE(DropoutSite().active());
  EXPECT_FALSE(DropoutSite(0.5, StepContext{}, 1).active());
  EXPECT_FALSE(DropoutSite(0.0, kTraining, 1).active());
  EXPECT_THROW(DropoutSite(1.0, kTraining, 1), InternalError);
}

TEST(DropoutTest, KeepsItsDrawsOverReleases) {
  // The definition in dropout.h, written out for site 1 and digest 42.
  const CounterRandom random(3, 5, RandomPurpose::kDropout);
  const at::Tensor factors = dropout_factors(DropoutSite(0.5, kTraining, 1), 42, 4, 7, at::kDouble);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t column = 0; column < 7; ++column) {
      const uint64_t bits = random.bits(mix64(42) ^ mix64(1), static_cast<uint64_t>(row * 2 + column / 4));
      const bool kept = ((bits >> (16 * (column % 4))) & 0xffff) >= 32768;
      EXPECT_EQ(factors[row][column].item<double>(), kept ? 2.0 : 0.0) << row << ", " << column;
    }
  }
}

}  // namespace
}  // namespace rondo
