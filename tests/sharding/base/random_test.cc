#include "sharding/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace rondo {
namespace {

TEST(CounterRandomTest, IsAPureFunctionOfItsFiveArguments) {
  const CounterRandom random(7, 3, RandomPurpose::kTest);
  EXPECT_EQ(random.bits(11, 5), CounterRandom(7, 3, RandomPurpose::kTest).bits(11, 5));
  const std::set<uint64_t> values{random.bits(11, 5),
                                  random.bits(11, 6),
                                  random.bits(12, 5),
                                  CounterRandom(8, 3, RandomPurpose::kTest).bits(11, 5),
                                  CounterRandom(7, 4, RandomPurpose::kTest).bits(11, 5),
                                  CounterRandom(7, 3, RandomPurpose::kSplit).bits(11, 5)};
  EXPECT_EQ(values.size(), 6U);
}

TEST(CounterRandomTest, KeepsItsNumbersOverReleases) {
  // What a seed means must not change: every shop, split and initial row depends on it.
  // Value computed apart, from the definition.
  EXPECT_EQ(CounterRandom(1, 2, RandomPurpose::kTest).bits(3, 4), 0x9e3464429e698d09ULL);
}

TEST(CounterRandomTest, UniformAndNormalHaveTheirMoments) {
  const CounterRandom random(1, 0, RandomPurpose::kTest);
  constexpr int kDraws = 200'000;
  double sum = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform(i % 100, i / 100);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    const double z = random.normal(i % 100, i / 100);
    normal_sum += z;
    normal_squares += z * z;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.003);             // 4 sigma = 0.0026
  EXPECT_NEAR(normal_sum / kDraws, 0.0, 0.01);       // 4 sigma = 0.009
  EXPECT_NEAR(normal_squares / kDraws, 1.0, 0.015);  // 4 sigma = 0.0126
}

TEST(CounterRandomTest, BelowCoversItsRangeEvenly) {
  const CounterRandom random(1, 0, RandomPurpose::kTest);
  int counts[7] = {};
  for (int i = 0; i < 70'000; ++i) ++counts[random.below(7, i, 0)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 400);  // 4 sigma = 370
}

}  // namespace
}  // namespace rondo
