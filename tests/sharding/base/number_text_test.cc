#include "sharding/base/number_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace rondo {
namespace {

TEST(NumberTextTest, GroupsThousands) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1000), "1,000");
  EXPECT_EQ(with_thousands(-123456), "-123,456");
  EXPECT_EQ(with_thousands(1234567), "1,234,567");
  EXPECT_EQ(with_thousands(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(NumberTextTest, ScalesBytes) {
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1500), "1.5 kB");
  EXPECT_EQ(bytes_text(999'960), "1.0 MB");
  EXPECT_EQ(bytes_text(64'000'000'000), "64.0 GB");
}

TEST(NumberTextTest, SaysHowLong) {
  EXPECT_EQ(duration_text(0.0), "0.00 s");
  EXPECT_EQ(duration_text(1.254), "1.25 s");
  EXPECT_EQ(duration_text(9.999), "10 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1 min 0 s");
  EXPECT_EQ(duration_text(303.0), "5 min 3 s");
  EXPECT_EQ(duration_text(7384.0), "2 h 3 min");
}

TEST(NumberTextTest, WritesTimeInUtc) {
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_text(1'795'441'440), "2026-11-23T13:44:00Z");
}

}  // namespace
}  // namespace rondo
