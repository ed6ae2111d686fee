#include "trainer/model/history_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo {
namespace {

/// Two examples: three events (oldest first), then none.
Batch two_examples() {
  Batch batch;
  batch.targets = {0, 1};
  batch.history_offsets = {0, 3, 3};
  batch.history_items = {5, 6, 7};
  batch.history_age_days = {20.0F, 10.0F, 0.0F};
  batch.history_behaviours = {0, 1, 0};
  return batch;
}

std::vector<double> weights(const UserVectorOptions& options) {
  const at::Tensor alpha = history_weights(two_examples(), options);
  return {alpha.data_ptr<double>(), alpha.data_ptr<double>() + alpha.numel()};
}

TEST(HistoryWeightsTest, MeanIsUniformWhateverTheBehaviour) {
  UserVectorOptions options;
  options.behaviour_weights = {1.0, 9.0};
  for (const double weight : weights(options)) EXPECT_DOUBLE_EQ(weight, 1.0 / 3.0);
}

TEST(HistoryWeightsTest, TimeDecayHalvesByAgeAndWeighsBehaviour) {
  UserVectorOptions options;
  options.weight = HistoryWeight::kTimeDecay;
  options.half_life_days = 10.0;
  options.behaviour_weights = {1.0, 4.0};
  // 1 * 1/4, 4 * 1/2, 1 * 1: sum 3.25.
  EXPECT_THAT(weights(options), ::testing::Each(::testing::Gt(0.0)));
  EXPECT_DOUBLE_EQ(weights(options)[0], 0.25 / 3.25);
  EXPECT_DOUBLE_EQ(weights(options)[1], 2.0 / 3.25);
  EXPECT_DOUBLE_EQ(weights(options)[2], 1.0 / 3.25);
}

TEST(HistoryWeightsTest, PositionDecayCountsFromTheLatestEvent) {
  UserVectorOptions options;
  options.weight = HistoryWeight::kPositionDecay;
  options.half_life_events = 1.0;
  EXPECT_DOUBLE_EQ(weights(options)[0], 0.25 / 1.75);
  EXPECT_DOUBLE_EQ(weights(options)[2], 1.0 / 1.75);
}

TEST(HistoryWeightsTest, BehavioursWithoutAWeightCountOne) {
  UserVectorOptions options;
  options.weight = HistoryWeight::kPositionDecay;
  options.half_life_events = 1e9;
  options.behaviour_weights = {0.0};
  EXPECT_NEAR(weights(options)[1], 1.0, 1e-12);
  EXPECT_EQ(weights(options)[0], 0.0);
}

}  // namespace
}  // namespace rondo
