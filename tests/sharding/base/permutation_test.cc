#include "sharding/base/permutation.h"

#include <gtest/gtest.h>

#include <vector>

namespace rondo {
namespace {

class PermutationTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(PermutationTest, VisitsEveryPlaceOnceAndComesBack) {
  const Permutation permutation(GetParam(), 5);
  std::vector<int> seen(GetParam());
  for (uint64_t i = 0; i < GetParam(); ++i) {
    const uint64_t image = permutation(i);
    ASSERT_LT(image, GetParam());
    ++seen[image];
    ASSERT_EQ(permutation.inverse(image), i);
  }
  for (const int count : seen) ASSERT_EQ(count, 1);
}
INSTANTIATE_TEST_SUITE_P(Sizes, PermutationTest, ::testing::Values(1, 2, 3, 4, 5, 7, 64, 65, 1000, 4097));

TEST(PermutationTest, DependsOnTheSeedAndLeavesFewPointsFixed) {
  const Permutation one(10'000, 1), two(10'000, 2);
  int fixed = 0, same = 0;
  for (uint64_t i = 0; i < 10'000; ++i) {
    fixed += one(i) == i;
    same += one(i) == two(i);
  }
  EXPECT_LE(fixed, 10);  // Poisson with mean 1
  EXPECT_LE(same, 10);
}

}  // namespace
}  // namespace rondo
