#include "trainer/optim/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "sharding/base/error.h"

namespace rondo {
namespace {

std::vector<double> factors(const ScheduleOptions& options, int64_t total, int64_t count) {
  std::vector<double> result;
  for (int64_t step = 0; step < count; ++step) result.push_back(factor(options, step, total));
  return result;
}

TEST(ScheduleTest, RisesThenFallsInStraightLines) {
  EXPECT_THAT(factors({.warmup_steps = 2}, 6, 8), ::testing::ElementsAre(0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0));
  EXPECT_THAT(factors({.final_factor = 0.5}, 2, 4), ::testing::ElementsAre(1.0, 0.75, 0.5, 0.5));
}

TEST(ScheduleTest, ConstantStaysAfterItsWarmUp) {
  EXPECT_THAT(factors({.shape = ScheduleShape::kConstant, .warmup_steps = 2}, 3, 5),
              ::testing::ElementsAre(0.5, 1.0, 1.0, 1.0, 1.0));
}

TEST(ScheduleTest, AWarmUpLongerThanTheRunOnlyRises) {
  EXPECT_THAT(factors({.warmup_steps = 4}, 2, 3), ::testing::ElementsAre(0.25, 0.5, 0.75));
  EXPECT_THAT(factors({.warmup_steps = 0}, 0, 1), ::testing::ElementsAre(0.0));
}

TEST(ScheduleTest, RefusesBadOptions) {
  EXPECT_THROW(validate(ScheduleOptions{.warmup_steps = -1}), ConfigError);
  EXPECT_THROW(validate(ScheduleOptions{.final_factor = 1.5}), ConfigError);
  EXPECT_THROW(validate(ScheduleOptions{.final_factor = std::nan("")}), ConfigError);
  EXPECT_NO_THROW(validate(ScheduleOptions{}));
}

}  // namespace
}  // namespace rondo
