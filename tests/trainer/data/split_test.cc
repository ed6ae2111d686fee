#include "trainer/data/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/base/error.h"
#include "tests/trainer/data/hand_made_log.h"

namespace rondo {
namespace {

using testing::catalog_of;
using ::testing::ElementsAre;
using testing::hand_made_log;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Items = std::vector<int32_t>;
using Places = std::vector<int64_t>;

SplitOptions options_of(SplitKind kind, Repeats repeats = Repeats::kDrop) {
  SplitOptions options;
  options.kind = kind;
  options.repeats = repeats;
  return options;
}

TEST(LeaveOneOutTest, HoldsOutTheLastTwoEventsOfAUser) {
  const EventLog log = hand_made_log({{{4, 10}, {5, 20}, {6, 30}, {7, 40}}, {}, {{1, 10}, {2, 11}, {3, 12}}});
  const Split split = make_split(log, catalog_of(9), options_of(SplitKind::kLeaveOneOut));

  EXPECT_THAT(split.training_targets, ElementsAre(0, 1, 4));
  EXPECT_THAT(split.is_training, ElementsAre(1, 1, 0, 0, 1, 0, 0));
  EXPECT_THAT(split.training_counts, ElementsAre(0, 1, 0, 0, 1, 1, 0, 0, 0));
  ASSERT_EQ(split.valid.size(), 2);
  EXPECT_EQ(split.valid[0].user, 0);
  EXPECT_EQ(split.valid[0].history, (Places{0, 1}));
  EXPECT_EQ(split.valid[0].targets, (Items{6}));
  EXPECT_EQ(split.valid[0].masked, (Items{4, 5}));
  EXPECT_EQ(split.valid[0].time, 30);
  ASSERT_EQ(split.test.size(), 2);
  EXPECT_EQ(split.test[0].history, (Places{0, 1, 2}));
  EXPECT_EQ(split.test[0].targets, (Items{7}));
  EXPECT_EQ(split.test[0].masked, (Items{4, 5, 6}));
  EXPECT_EQ(split.test[0].time, 40);
  EXPECT_EQ(split.test[1].user, 2);
  EXPECT_EQ(split.test[1].history, (Places{4, 5}));
  EXPECT_THAT(split.candidates, IsEmpty());
  EXPECT_THAT(split.valid_candidates, IsEmpty());
  EXPECT_EQ(split.dropped_repeats + split.users_without_history, 0);
}

TEST(LeaveOneOutTest, TakesTheOrderOfTheLogAtEqualTimes) {
  const EventLog log = hand_made_log({{{4, 10}, {5, 10}, {6, 10}}});
  const Split split = make_split(log, catalog_of(9), options_of(SplitKind::kLeaveOneOut));
  EXPECT_EQ(split.test.at(0).targets, (Items{6}));
  EXPECT_EQ(split.test.at(0).history, (Places{0, 1}));
  EXPECT_EQ(split.valid.at(0).targets, (Items{5}));
}

TEST(LeaveOneOutTest, DropsAndCountsRepeatsOnlyWhenHistoryIsMasked) {
  // The test target 1 was seen as the first event; the valid target 3 is new.
  const EventLog log = hand_made_log({{{1, 10}, {2, 20}, {3, 30}, {1, 40}}});
  const Split dropped = make_split(log, catalog_of(9), options_of(SplitKind::kLeaveOneOut));
  EXPECT_THAT(dropped.test, IsEmpty());
  EXPECT_EQ(dropped.valid.size(), 1);
  EXPECT_EQ(dropped.dropped_repeats, 1);
  EXPECT_THAT(dropped.is_training, ElementsAre(1, 1, 0, 0)) << "a dropped target does not train";

  const Split kept = make_split(log, catalog_of(9), options_of(SplitKind::kLeaveOneOut, Repeats::kKeepUnmasked));
  EXPECT_EQ(kept.test.at(0).targets, (Items{1}));
  EXPECT_THAT(kept.test.at(0).masked, IsEmpty());
  EXPECT_EQ(kept.test.at(0).history, (Places{0, 1, 2}));
  EXPECT_EQ(kept.dropped_repeats, 0);
}

TEST(LeaveOneOutTest, LeavesUsersWithFewDistinctItemsToTraining) {
  // Four events, two items.
  const EventLog log = hand_made_log({{{1, 10}, {2, 20}, {1, 30}, {2, 40}}, {{1, 1}}});
  SplitOptions options = options_of(SplitKind::kLeaveOneOut, Repeats::kKeepUnmasked);
  EXPECT_EQ(make_split(log, catalog_of(9), options).training_targets, (Places{0, 1, 2, 3, 4}));

  options.min_user_events = 2;
  EXPECT_EQ(make_split(log, catalog_of(9), options).training_targets, (Places{0, 1, 4}));

  options.min_user_events = 1;
  EXPECT_EQ(make_split(log, catalog_of(9), options).training_targets, (Places{0, 1, 4}))
      << "one event is never held out";
}

TEST(LeaveOneOutTest, HoldsOutOnlyTestOfTwoEvents) {
  SplitOptions options = options_of(SplitKind::kLeaveOneOut);
  options.min_user_events = 2;
  const Split split = make_split(hand_made_log({{{1, 10}, {2, 20}}}), catalog_of(9), options);
  EXPECT_EQ(split.training_targets, (Places{0}));
  EXPECT_EQ(split.test.at(0).targets, (Items{2}));
  EXPECT_THAT(split.valid, IsEmpty());
}

TEST(LastBasketOutTest, HoldsOutFirstTimeItemsOfTheLastTwoBaskets) {
  const EventLog log = hand_made_log({{{1, 10, 7},  // trains
                                       {2, 10, 7},  // trains
                                       {3, 20, 8},  // valid
                                       {1, 21, 8},  // valid, but a repeat
                                       {4, 30, 9},  // test
                                       {3, 30, 9},  // test, but a repeat of valid's
                                       {4, 31, 9},  // test, once
                                       {5, 32, 9}}});
  const Split split = make_split(log, catalog_of(9), options_of(SplitKind::kLastBasketOut));
  EXPECT_THAT(split.training_targets, ElementsAre(0, 1));
  EXPECT_EQ(split.valid.at(0).targets, (Items{3}));
  EXPECT_EQ(split.valid.at(0).history, (Places{0, 1}));
  EXPECT_EQ(split.valid.at(0).time, 20);
  EXPECT_EQ(split.test.at(0).targets, (Items{4, 5}));
  EXPECT_EQ(split.test.at(0).history, (Places{0, 1, 2, 3}));
  EXPECT_EQ(split.test.at(0).masked, (Items{1, 2, 3}));
  EXPECT_EQ(split.test.at(0).time, 30);
  EXPECT_EQ(split.dropped_repeats, 2);

  const Split kept = make_split(log, catalog_of(9), options_of(SplitKind::kLastBasketOut, Repeats::kKeepUnmasked));
  EXPECT_EQ(kept.test.at(0).targets, (Items{3, 4, 5}));
  EXPECT_EQ(kept.valid.at(0).targets, (Items{1, 3}));
}

TEST(LastBasketOutTest, TakesEqualTimesForBasketsWhereTheSourceHasNone) {
  EventLog log = hand_made_log({{{1, 10}, {2, 10}, {3, 20}, {4, 20}, {5, 30}}});
  log.basket.clear();
  const Split split = make_split(log, catalog_of(9), options_of(SplitKind::kLastBasketOut));
  EXPECT_THAT(split.training_targets, ElementsAre(0, 1));
  EXPECT_EQ(split.valid.at(0).targets, (Items{3, 4}));
  EXPECT_EQ(split.test.at(0).targets, (Items{5}));
}

TEST(LastBasketOutTest, NeedsSomethingStrictlyEarlierThanABasket) {
  const EventLog log = hand_made_log({{{1, 10, 1}, {2, 10, 1}, {3, 10, 1}},                // one basket
                                      {{1, 10, 1}, {2, 10, 2}, {3, 10, 3}},                // three, at one time
                                      {{1, 10, 1}, {2, 20, 2}, {3, 20, 2}},                // two
                                      {{1, 10, 1}, {2, 10, 2}, {3, 20, 3}, {4, 20, 3}}});  // no history before basket 2
  const Split split = make_split(log, catalog_of(9), options_of(SplitKind::kLastBasketOut));
  EXPECT_THAT(split.training_targets, ElementsAre(0, 1, 2, 3, 4, 5, 6, 9, 10));
  EXPECT_THAT(split.valid, IsEmpty());
  ASSERT_EQ(split.test.size(), 2);
  EXPECT_EQ(split.test[0].user, 2);
  EXPECT_EQ(split.test[1].history, (Places{9, 10}));
}

TEST(LastBasketOutTest, KeepsOverlappingBasketsOutOfTrainingAndTheFutureOutOfHistory) {
  const EventLog log = hand_made_log({{{1, 10, 1},
                                       {2, 20, 2},  // basket 2 starts, ends at 40
                                       {3, 30, 3},  // valid starts
                                       {4, 40, 2},  // after the start of valid: neither trains nor is it valid's
                                       {5, 50, 4},  // test starts
                                       {6, 50, 3},  // valid, too late for the history of test
                                       {7, 60, 2}}});
  const Split split = make_split(log, catalog_of(9), options_of(SplitKind::kLastBasketOut));
  EXPECT_THAT(split.training_targets, ElementsAre(0, 1));
  EXPECT_EQ(split.valid.at(0).targets, (Items{3, 6}));
  EXPECT_EQ(split.valid.at(0).history, (Places{0, 1}));
  EXPECT_EQ(split.test.at(0).targets, (Items{5}));
  EXPECT_EQ(split.test.at(0).history, (Places{0, 1, 2, 3}));
}

TEST(GlobalTimeTest, CutsBetweenTimesAndFixesTheHistory) {
  const EventLog log =
      hand_made_log({{{1, 10}, {2, 60}, {3, 80}, {1, 81}, {4, 90}}, {{5, 20}, {6, 30}, {7, 40}, {6, 50}}, {{8, 70}}});
  SplitOptions options = options_of(SplitKind::kGlobalTime);
  options.valid_fraction = options.test_fraction = 0.2;
  const Split split = make_split(log, catalog_of(11), options);

  // Of ten times in order, 10 20 30 40 50 60 | 70 80 | 81 90.
  EXPECT_THAT(split.training_targets, ElementsAre(0, 1, 5, 6, 7, 8));
  ASSERT_EQ(split.valid.size(), 2);
  EXPECT_EQ(split.valid[0].targets, (Items{3}));
  EXPECT_EQ(split.valid[0].history, (Places{0, 1}));
  EXPECT_EQ(split.valid[0].time, 70);
  EXPECT_EQ(split.valid[1].user, 2);
  EXPECT_EQ(split.valid[1].targets, (Items{8}));
  EXPECT_THAT(split.valid[1].history, IsEmpty());
  EXPECT_EQ(split.users_without_history, 1);
  ASSERT_EQ(split.test.size(), 1);
  EXPECT_EQ(split.test[0].history, (Places{0, 1, 2})) << "fixed at the cut: 81 is no history of 90";
  EXPECT_EQ(split.test[0].targets, (Items{4})) << "1 is a repeat";
  EXPECT_EQ(split.test[0].time, 81);
  EXPECT_EQ(split.dropped_repeats, 1);
  EXPECT_THAT(split.candidates, IsEmpty());
  EXPECT_THAT(split.valid_candidates, ElementsAre(0, 1, 2, 3, 5, 6, 7, 8, 9, 10)) << "4 is first seen later";
}

TEST(GlobalTimeTest, CutsWhereTheTimesAllowNearestToTheFraction) {
  // Before the test window should be 9 of 10, before valid 8; eight events share a time.
  EventLog log = hand_made_log({{{0, 1}, {1, 2}, {2, 2}, {3, 2}, {4, 2}, {5, 2}, {6, 2}, {7, 2}, {8, 2}, {9, 3}}});
  const Split split = make_split(log, catalog_of(10), options_of(SplitKind::kGlobalTime));
  EXPECT_EQ(split.training_targets, (Places{0}));
  EXPECT_EQ(split.valid.at(0).targets.size(), 8);
  EXPECT_EQ(split.test.at(0).targets, (Items{9}));
  EXPECT_THAT(split.valid_candidates, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
}

TEST(GlobalTimeTest, DoesNotTrainOnUsersWithFewItemsBehindTheCut) {
  const EventLog log = hand_made_log({{{1, 1}}, {{2, 2}}, {{3, 3}}, {{4, 4}}});
  SplitOptions options = options_of(SplitKind::kGlobalTime);
  options.valid_fraction = 0;
  options.test_fraction = 0.25;
  const Split split = make_split(log, catalog_of(9), options);
  EXPECT_THAT(split.training_targets, ElementsAre(0, 1, 2));
  EXPECT_THAT(split.valid, IsEmpty());
  EXPECT_EQ(split.users_without_history, 1);
}

TEST(GlobalTimeTest, RefusesALogThatCannotBeCut) {
  const auto expect_refusal = [](const EventLog& log, const char* message) {
    try {
      make_split(log, catalog_of(9), options_of(SplitKind::kGlobalTime));
      ADD_FAILURE() << "no error: " << message;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
      EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
    }
  };
  expect_refusal(hand_made_log({{{1, 5}, {2, 5}}, {{3, 5}}}), "the 3 events before the next cut all have the time 5");
  expect_refusal(hand_made_log({{{1, 5}, {2, 6}}}), "the 1 events before the next cut all have the time 5");
  expect_refusal(hand_made_log({{{1, 5}}}), "the 1 events before the next cut all have the time 5");
}

TEST(RandomSplitTest, SeesOnlyWhatTrainsAndStandsAfterIt) {
  const EventLog log = hand_made_log({{{0, 10}, {1, 20}, {2, 30}, {3, 40}, {4, 50}}});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SplitOptions options = options_of(SplitKind::kRandom);
    options.seed = seed;
    const Split split = make_split(log, catalog_of(5), options);
    ASSERT_EQ(split.valid.size(), 1);
    ASSERT_EQ(split.test.size(), 1);
    EXPECT_EQ(split.valid[0].history, split.training_targets);
    EXPECT_EQ(split.test[0].history.size(), 4);
    EXPECT_EQ(split.test[0].masked.size(), 4);
    EXPECT_EQ(split.test[0].time, log.time[static_cast<size_t>(split.test[0].history.back())] + 1);
  }
}

TEST(RandomSplitTest, DependsOnSeedAndUserKeyOnly) {
  const EventLog log = testing::random_log(50, 3);
  SplitOptions options = options_of(SplitKind::kRandom);
  const auto training = make_split(log, catalog_of(testing::kRandomLogItems), options).is_training;
  EXPECT_EQ(make_split(log, catalog_of(testing::kRandomLogItems), options).is_training, training);

  // The same users behind a new one.
  EventLog longer = hand_made_log({{{1, 1}, {2, 2}, {3, 3}, {4, 4}}});
  longer.user_keys = {0};
  longer.user_keys.insert(longer.user_keys.end(), log.user_keys.begin(), log.user_keys.end());
  for (size_t user = 1; user < log.user_offsets.size(); ++user)
    longer.user_offsets.push_back(log.user_offsets[user] + 4);
  longer.item.insert(longer.item.end(), log.item.begin(), log.item.end());
  longer.time.insert(longer.time.end(), log.time.begin(), log.time.end());
  longer.basket.clear();
  const auto shifted = make_split(longer, catalog_of(testing::kRandomLogItems), options).is_training;
  EXPECT_TRUE(std::equal(training.begin(), training.end(), shifted.begin() + 4, shifted.end()));

  options.seed = 2;
  EXPECT_NE(make_split(log, catalog_of(testing::kRandomLogItems), options).is_training, training);

  // Two users with the same events part ways.
  std::vector<testing::HandMadeEvent> user;
  for (int32_t i = 0; i < 40; ++i) user.push_back({i, i});
  const auto both = make_split(hand_made_log({user, user}), catalog_of(40), options).is_training;
  EXPECT_FALSE(std::equal(both.begin(), both.begin() + 40, both.begin() + 40));
}

TEST(SplitTest, TakesALogWithoutEvents) {
  for (const auto kind :
       {SplitKind::kRandom, SplitKind::kLeaveOneOut, SplitKind::kLastBasketOut, SplitKind::kGlobalTime}) {
    const Split split = make_split(hand_made_log({{}, {}}), catalog_of(2), options_of(kind));
    EXPECT_THAT(split.test, IsEmpty());
    EXPECT_THAT(split.training_counts, ElementsAre(0, 0));
    EXPECT_THAT(make_split(hand_made_log({}), catalog_of(0), options_of(kind)).training_targets, IsEmpty());
  }
}

TEST(SplitTest, RefusesALogOutOfOrder) {
  EXPECT_THROW(make_split(hand_made_log({{{1, 20}, {2, 10}}}), catalog_of(3), {}), InternalError);
  EXPECT_THROW(make_split(hand_made_log({{{3, 20}}}), catalog_of(3), {}), InternalError);
}

TEST(SplitOptionsTest, RefusesWhatIsOutOfRange) {
  const auto expect_refusal = [](const SplitOptions& options, const char* message) {
    try {
      validate(options);
      ADD_FAILURE() << "no error: " << message;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    }
  };
  validate(SplitOptions{});
  SplitOptions options;
  options.valid_fraction = -0.1;
  expect_refusal(options, "valid_fraction must be in [0, 1), got -0.1");
  options = {};
  options.test_fraction = std::numeric_limits<double>::quiet_NaN();
  expect_refusal(options, "test_fraction must be in [0, 1), got nan");
  options.valid_fraction = options.test_fraction = 0.5;
  expect_refusal(options, "valid_fraction + test_fraction must be below 1, got 1");
  options = {};
  options.min_user_events = 0;
  expect_refusal(options, "min_user_events must be 1 or more, got 0");
}

}  // namespace
}  // namespace rondo
