#include "trainer/eval/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "sharding/base/error.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

std::vector<Interval> intervals_of(const std::vector<double>& values, int64_t columns,
                                   const BootstrapOptions& options = {}) {
  const auto means = resampled_means(values, columns, options.seed, 0, options.resamples);
  return percentile_intervals(values, columns, means, options.confidence);
}

TEST(BootstrapTest, AgreesWithTheDefinition) {
  const std::vector<double> values{0.0, 1.0, 0.25, -2.0, 5.0};
  const CounterRandom random(9, 0, RandomPurpose::kBootstrap);
  const auto means = resampled_means(values, 1, 9, 3, 4);
  ASSERT_EQ(means.size(), 4U);
  for (uint64_t b = 3; b < 7; ++b) {
    double sum = 0.0;
    for (uint64_t i = 0; i < 5; ++i) sum += values[random.below(5, b, i)];
    EXPECT_DOUBLE_EQ(means[b - 3], sum / 5.0);
  }
}

TEST(BootstrapTest, PercentilesAreInterpolated) {
  const std::vector<double> values{7.0}, resampled{4.0, 1.0, 3.0, 2.0, 5.0};
  const auto intervals = percentile_intervals(values, 1, resampled, 0.9);
  EXPECT_DOUBLE_EQ(intervals[0].mean, 7.0);
  EXPECT_DOUBLE_EQ(intervals[0].low, 1.2);  // at 0.05 of 4 steps
  EXPECT_DOUBLE_EQ(intervals[0].high, 4.8);
}

TEST(BootstrapTest, ResamplesMayBeSharedOut) {
  const std::vector<double> values{1, 10, 2, 20, 4, 40, 8, 80};
  const auto all = resampled_means(values, 2, 1, 0, 11);
  auto parts = resampled_means(values, 2, 1, 0, 4);
  const auto rest = resampled_means(values, 2, 1, 4, 7);
  parts.insert(parts.end(), rest.begin(), rest.end());
  EXPECT_EQ(parts, all);
  for (size_t b = 0; b < 11; ++b) EXPECT_DOUBLE_EQ(all[2 * b + 1], 10.0 * all[2 * b]);  // one draw for all columns
}

TEST(BootstrapTest, OneUserOrEqualUsersHaveNoSpread) {
  const auto one = intervals_of({0.5}, 1);
  EXPECT_EQ(one[0].low, 0.5);
  EXPECT_EQ(one[0].high, 0.5);
  const auto equal = intervals_of({2.0, 2.0, 2.0}, 1);
  EXPECT_EQ(equal[0].low, 2.0);
  EXPECT_EQ(equal[0].high, 2.0);
}

// Paired differences of hits: -1, 0 and 1, with a known mean. Of 400 experiments the intervals should hold the true
// mean in 95 %; a binomial count that far from it by chance has a probability below 1e-4.
TEST(BootstrapTest, CoversTheTruthAsOftenAsItSays) {
  constexpr int kExperiments = 400;
  constexpr int64_t kUsers = 300;
  const CounterRandom random(3, 0, RandomPurpose::kTest);
  int covered = 0, above = 0;
  for (uint64_t experiment = 0; experiment < kExperiments; ++experiment) {
    std::vector<double> values;
    for (uint64_t user = 0; user < kUsers; ++user) {
      const double draw = random.uniform(experiment, user);
      values.push_back(draw < 0.12 ? 1.0 : draw < 0.2 ? -1.0 : 0.0);  // mean 0.04
    }
    const auto interval = intervals_of(values, 1, {.resamples = 300, .seed = experiment}).front();
    covered += interval.low <= 0.04 && 0.04 <= interval.high ? 1 : 0;
    above += interval.low > 0.04 ? 1 : 0;
  }
  EXPECT_GE(covered, kExperiments * 0.905);
  EXPECT_LE(covered, kExperiments * 0.985);
  EXPECT_GE(above, 1);  // misses lie on both sides
  EXPECT_GE(kExperiments - covered - above, 1);
}

TEST(BootstrapTest, RefusesOptionsOutOfRange) {
  EXPECT_THROW(validate(BootstrapOptions{.resamples = -1}), ConfigError);
  try {
    validate(BootstrapOptions{.confidence = 1.0});
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("confidence must be in (0, 1), got 1"));
  }
}

}  // namespace
}  // namespace rondo
