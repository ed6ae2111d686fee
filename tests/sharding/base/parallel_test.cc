#include "sharding/base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace rondo {
namespace {

TEST(ParallelForTest, CoversEveryElementOnceInRangesOfTheGrain) {
  set_threads(2);
  std::vector<std::atomic<int>> seen(1003);
  parallel_for(1003, 10, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(begin % 10, 0);
    EXPECT_LE(end - begin, 10);
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (const auto& count : seen) EXPECT_EQ(count, 1);
}

TEST(ParallelForTest, CallsNothingForZeroElements) {
  parallel_for(0, 4, [](int64_t, int64_t) { FAIL(); });
}

TEST(ParallelForTest, ThrowsTheFirstFailureByRange) {
  set_threads(2);
  try {
    parallel_for(100, 1, [](int64_t begin, int64_t) {
      if (begin >= 40) throw std::runtime_error(std::to_string(begin));
    });
    FAIL() << "nothing thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "40");
  }
}

}  // namespace
}  // namespace rondo
