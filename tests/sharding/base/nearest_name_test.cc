#include "sharding/base/nearest_name.h"

#include <gtest/gtest.h>

namespace rondo {
namespace {

const std::vector<std::string> kNames{"train", "text", "tables", "evaluation"};

TEST(NearestNameTest, FindsTypingErrors) {
  EXPECT_EQ(nearest_name("trian", kNames), "train");
  EXPECT_EQ(nearest_name("evaluate", kNames), "evaluation");
  EXPECT_EQ(nearest_name("tabel", kNames), "tables");
  EXPECT_EQ(nearest_name("texts", kNames), "text");
}

TEST(NearestNameTest, SaysNothingWhenNoneIsNear) {
  EXPECT_EQ(nearest_name("learning_rate", kNames), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name(std::string(100'000, 'a'), kNames), "");
}

TEST(NearestNameTest, MakesTheEndOfAMessage) {
  EXPECT_EQ(did_you_mean("trian", kNames), "; did you mean \"train\"?");
  EXPECT_EQ(did_you_mean("learning_rate", kNames), "");
}

}  // namespace
}  // namespace rondo
