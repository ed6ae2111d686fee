#include "trainer/model/mix_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

/// Item 0: a bag of two keys and a text. Item 1: nothing but its id. Item 2: a bag of one key.
struct ThreeItems {
  ThreeItems() {
    catalog.keys = {100, 101, 102};
    catalog.bags.push_back({"category", {0, 2, 2, 3}, {7, 8, 7}});
    tokens.tokens = {2, 50, 3, 2, 3, 2, 3};
    tokens.offsets = {0, 3, 5, 7};
    options.dtype = at::kDouble;
    options.item.id_beta = 1.0;
    options.item.bag_beta = 2.0;
    options.item.text_beta = 1.0;
  }
  MixPlan plan(const Segment& segment, const Presence& presence) const {
    return plan_mix(segment, presence, ItemFeatures(catalog, tokens), options);
  }

  Catalog catalog;
  ItemTokens tokens;
  ModelOptions options;
};

std::vector<double> doubles(const at::Tensor& values) {
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}
std::vector<int64_t> integers(const at::Tensor& values) {
  return {values.data_ptr<int64_t>(), values.data_ptr<int64_t>() + values.numel()};
}

TEST(MixPlanTest, SharesAddUpToOneOverThePresentFeatures) {
  const ThreeItems shop;
  const std::vector<int32_t> places{0, 1, 2};
  const std::vector<int64_t> groups{0, 1, 2, 3};
  const std::vector<double> alpha{1, 1, 1};
  const MixPlan plan = shop.plan({places, groups, alpha}, {{1, 1, 1}, {{1, 1, 1}}, {1, 0, 0}});
  EXPECT_THAT(doubles(plan.id.weights), ElementsAre(0.25, 1.0, DoubleNear(1.0 / 3.0, 1e-15)));
  EXPECT_THAT(doubles(plan.bags[0].weights), ElementsAre(0.25, 0.25, DoubleNear(2.0 / 3.0, 1e-15)));
  EXPECT_THAT(integers(plan.bags[0].offsets), ElementsAre(0, 2, 2, 3));
  EXPECT_THAT(doubles(plan.text.weights), ElementsAre(0.25));
  EXPECT_THAT(integers(plan.text.offsets), ElementsAre(0, 1, 1, 1));
}

TEST(MixPlanTest, AnAbsentFeatureLeavesItsShareToTheOthers) {
  const ThreeItems shop;
  const std::vector<int32_t> places{0};
  const std::vector<int64_t> groups{0, 1};
  const std::vector<double> alpha{1};
  // The id was dropped, one of two categories was never trained.
  const MixPlan plan = shop.plan({places, groups, alpha}, {{0}, {{0, 1}}, {1}});
  EXPECT_THAT(doubles(plan.id.weights), ElementsAre(0.0));
  EXPECT_THAT(doubles(plan.bags[0].weights), ElementsAre(0.0, DoubleNear(2.0 / 3.0, 1e-15)));
  EXPECT_THAT(doubles(plan.text.weights), ElementsAre(DoubleNear(1.0 / 3.0, 1e-15)));
}

TEST(MixPlanTest, AnItemOfWhichNothingIsKnownWeighsNothing) {
  const ThreeItems shop;
  const std::vector<int32_t> places{1};
  const std::vector<int64_t> groups{0, 1};
  const std::vector<double> alpha{1};
  EXPECT_THAT(doubles(shop.plan({places, groups, alpha}, {{0}, {{}}, {0}}).id.weights), ElementsAre(0.0));
}

TEST(MixPlanTest, HistoriesScaleTheSharesByAlpha) {
  const ThreeItems shop;
  const std::vector<int32_t> places{1, 2};
  const std::vector<int64_t> groups{0, 0, 2};  // the first history is empty
  const std::vector<double> alpha{0.25, 0.75};
  const MixPlan plan = shop.plan({places, groups, alpha}, {{1, 1}, {{1}}, {0, 0}});
  EXPECT_THAT(integers(plan.id.offsets), ElementsAre(0, 0, 2));
  EXPECT_THAT(doubles(plan.id.weights), ElementsAre(0.25, 0.25));
  EXPECT_THAT(doubles(plan.bags[0].weights), ElementsAre(0.5));
}

}  // namespace
}  // namespace rondo
