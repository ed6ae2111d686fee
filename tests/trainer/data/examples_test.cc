#include "trainer/data/examples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <tuple>

#include "sharding/base/error.h"
#include "tests/trainer/data/hand_made_log.h"

namespace rondo {
namespace {

using testing::catalog_of;
using ::testing::ElementsAre;
using testing::hand_made_log;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kDay;
using testing::kRandomLogItems;
using testing::random_log;

/// One example with all that it says, so that sets of examples can be compared.
using Row =
    std::tuple<int64_t, int32_t, std::vector<int32_t>, std::vector<float>, std::vector<uint8_t>, std::vector<int32_t>>;

template <typename T>
std::vector<T> slice(const std::vector<T>& values, const std::vector<int64_t>& offsets, size_t i) {
  return {values.begin() + offsets[i], values.begin() + offsets[i + 1]};
}

void append_rows(const Batch& batch, std::vector<Row>& rows) {
  ASSERT_EQ(batch.history_offsets.size(), batch.targets.size() + 1);
  ASSERT_EQ(batch.positive_offsets.size(), batch.targets.size() + 1);
  ASSERT_EQ(batch.examples.size(), batch.targets.size());
  ASSERT_EQ(batch.weights, std::vector<float>(batch.targets.size(), 1.0F));
  for (size_t i = 0; i < batch.targets.size(); ++i) {
    rows.emplace_back(batch.users[i], batch.targets[i], slice(batch.history_items, batch.history_offsets, i),
                      slice(batch.history_age_days, batch.history_offsets, i),
                      slice(batch.history_behaviours, batch.history_offsets, i),
                      slice(batch.positives, batch.positive_offsets, i));
  }
}

/// The rows of one epoch, in order, from batches of `global_batch` on `world` ranks.
std::vector<Row> epoch_rows(const TrainingExamples& examples, int64_t epoch, int64_t global_batch, int world) {
  std::vector<Row> rows;
  DataCursor cursor{epoch, 0};
  while (cursor.epoch == epoch) {
    const DataCursor before = cursor;
    for (int rank = 0; rank < world; ++rank) {
      cursor = before;
      append_rows(examples.next(cursor, global_batch, rank, world), rows);
    }
  }
  return rows;
}

/// The examples by scanning all events of the user for every target.
std::vector<Row> dull_rows(const EventLog& log, const Split& split, const ExampleOptions& options) {
  std::vector<Row> rows;
  for (int64_t user = 0; user < log.users(); ++user) {
    const auto begin = static_cast<size_t>(log.user_offsets[static_cast<size_t>(user)]);
    const auto end = static_cast<size_t>(log.user_offsets[static_cast<size_t>(user) + 1]);
    std::set<int32_t> positives;
    std::vector<Row> of_user;
    size_t last = end;
    for (size_t t = begin; t < end; ++t) {
      if (split.is_training[t] != 0) positives.insert(log.item[t]), last = t;
    }
    for (size_t t = begin; t < end; ++t) {
      if (split.is_training[t] == 0 || (options.last_only && t != last)) continue;
      std::vector<size_t> history;
      for (size_t e = begin; e < t; ++e) {
        if (split.is_training[e] == 0) continue;
        if (log.time[e] < log.time[t] || options.history_same_time) history.push_back(e);
      }
      if (history.empty()) continue;
      while (static_cast<int64_t>(history.size()) > options.history_max) history.erase(history.begin());
      Row row(user, log.item[t], {}, {}, {}, {positives.begin(), positives.end()});
      for (const size_t e : history) {
        std::get<2>(row).push_back(log.item[e]);
        std::get<3>(row).push_back(static_cast<float>((log.time[t] - log.time[e]) / kDay));
        std::get<4>(row).push_back(log.behaviour[e]);
      }
      rows.push_back(row);
    }
  }
  return rows;
}

TEST(TrainingExamplesTest, MakesOneExampleOfEachTargetWithAHistory) {
  // Leave-one-out holds out 8 and 9. The target 4 has an event at its own time.
  const EventLog log =
      hand_made_log({{{3, 0, 0, 1}, {4, 2 * kDay, 0, 2}, {3, 2 * kDay}, {8, 3 * kDay}, {9, 3 * kDay}}});
  const Split split = make_split(log, catalog_of(10), {});
  const TrainingExamples examples(log, split, {}, 1);
  ASSERT_EQ(examples.size(), 2);
  auto rows = epoch_rows(examples, 0, 10, 1);
  std::sort(rows.begin(), rows.end());
  EXPECT_THAT(rows, ElementsAre(Row(0, 3, {3}, {2.0F}, {1}, {3, 4}), Row(0, 4, {3}, {2.0F}, {1}, {3, 4})));

  ExampleOptions same_time;
  same_time.history_same_time = true;
  rows = epoch_rows(TrainingExamples(log, split, same_time, 1), 0, 10, 1);
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(rows.at(0), Row(0, 3, {3, 4}, {2.0F, 0.0F}, {1, 2}, {3, 4}));

  ExampleOptions last_only;
  last_only.last_only = true;
  EXPECT_THAT(epoch_rows(TrainingExamples(log, split, last_only, 1), 0, 10, 1),
              ElementsAre(Row(0, 3, {3}, {2.0F}, {1}, {3, 4})));
}

class ExampleRulesTest : public ::testing::TestWithParam<std::tuple<SplitKind, bool, bool, int64_t>> {};

TEST_P(ExampleRulesTest, AgreeWithAScanOfAllEvents) {
  SplitOptions split_options;
  ExampleOptions options;
  std::tie(split_options.kind, options.history_same_time, options.last_only, options.history_max) = GetParam();
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const EventLog log = random_log(50, seed);
    const Split split = make_split(log, catalog_of(kRandomLogItems), split_options);
    auto expected = dull_rows(log, split, options);
    auto actual = epoch_rows(TrainingExamples(log, split, options, seed), 3, 7, 2);
    EXPECT_GT(actual.size(), 7U);
    std::sort(expected.begin(), expected.end());
    std::sort(actual.begin(), actual.end());
    EXPECT_EQ(actual, expected);
  }
}
INSTANTIATE_TEST_SUITE_P(All, ExampleRulesTest,
                         ::testing::Combine(::testing::Values(SplitKind::kRandom, SplitKind::kLeaveOneOut,
                                                              SplitKind::kLastBasketOut, SplitKind::kGlobalTime),
                                            ::testing::Bool(), ::testing::Bool(), ::testing::Values(1, 3, 50)));

class ExampleOrderTest : public ::testing::Test {
 protected:
  EventLog log_ = random_log(60, 9);
  Split split_ = make_split(log_, catalog_of(kRandomLogItems), {});
  TrainingExamples examples_{log_, split_, {}, 5};
};

TEST_F(ExampleOrderTest, IsTheSameOnAnyWorldAndWithAnyBatch) {
  const auto expected = epoch_rows(examples_, 1, 10, 1);
  EXPECT_EQ(static_cast<int64_t>(expected.size()), examples_.size());
  for (const int world : {1, 2, 3, 4, 7, 32}) {
    EXPECT_EQ(epoch_rows(examples_, 1, 10, world), expected) << "world " << world;
    EXPECT_EQ(epoch_rows(examples_, 1, 1, world), expected) << "world " << world << ", one example a batch";
    EXPECT_EQ(epoch_rows(examples_, 1, 100'000, world), expected) << "world " << world << ", one batch";
  }
}

TEST_F(ExampleOrderTest, IsAFunctionOfSeedAndEpoch) {
  const auto first = epoch_rows(examples_, 0, 10, 1);
  EXPECT_EQ(epoch_rows(TrainingExamples(log_, split_, {}, 5), 0, 10, 1), first);
  EXPECT_NE(epoch_rows(examples_, 1, 10, 1), first);
  EXPECT_NE(epoch_rows(TrainingExamples(log_, split_, {}, 6), 0, 10, 1), first);
}

TEST_F(ExampleOrderTest, GoesOnFromACursorOnAnotherWorld) {
  std::vector<Row> rows;
  DataCursor cursor;
  for (int batch = 0; batch < 3; ++batch) {  // world 1
    append_rows(examples_.next(cursor, 8, 0, 1), rows);
  }
  EXPECT_EQ(cursor.epoch, 0);
  EXPECT_EQ(cursor.next, 24);
  const DataCursor saved = cursor;
  while (cursor.epoch == 0) {  // world 3
    const DataCursor before = cursor;
    for (int rank = 0; rank < 3; ++rank) {
      cursor = before;
      append_rows(examples_.next(cursor, 8, rank, 3), rows);
    }
  }
  EXPECT_EQ(rows, epoch_rows(examples_, 0, 8, 1));

  cursor = saved;
  EXPECT_EQ(examples_.next(cursor, 8, 2, 3).examples, (std::vector<int64_t>{24 + 5, 24 + 6, 24 + 7}));
}

TEST_F(ExampleOrderTest, EndsAnEpochWithASmallerBatchAndEmptyShares) {
  const int64_t size = examples_.size();
  DataCursor cursor{0, size - 2};
  for (int rank = 0; rank < 7; ++rank) {
    cursor = {0, size - 2};
    const Batch batch = examples_.next(cursor, 16, rank, 7);
    EXPECT_EQ(batch.epoch, 0);
    EXPECT_EQ(batch.first, size - 2);
    EXPECT_EQ(batch.global_size, 2);
    EXPECT_EQ(batch.size(), rank == 3 || rank == 6 ? 1 : 0);
    EXPECT_EQ(batch.history_offsets.front(), 0);
    EXPECT_EQ(cursor.epoch, 1);
    EXPECT_EQ(cursor.next, 0);
  }
  EXPECT_EQ(examples_.next(cursor, 16, 0, 1).epoch, 1);
}

TEST(LeakTest, HeldOutEventsChangeNothingInTraining) {
  for (const auto kind :
       {SplitKind::kRandom, SplitKind::kLeaveOneOut, SplitKind::kLastBasketOut, SplitKind::kGlobalTime}) {
    EventLog log = random_log(60, 2);
    SplitOptions options;
    options.kind = kind;
    const Split split = make_split(log, catalog_of(kRandomLogItems + 1), options);
    const auto expected = epoch_rows(TrainingExamples(log, split, {}, 1), 0, 16, 1);
    for (size_t e = 0; e < log.item.size(); ++e) {
      if (split.is_training[e] == 0) log.item[e] = kRandomLogItems, log.behaviour[e] = 3;
    }
    EXPECT_EQ(epoch_rows(TrainingExamples(log, split, {}, 1), 0, 16, 1), expected);
  }
}

TEST(TrainingExamplesTest, RefusesALogWithoutExamples) {
  const EventLog log = hand_made_log({{{1, 5}, {2, 5}}, {{3, 5}}});
  const Split split = make_split(log, catalog_of(4), {});
  try {
    const TrainingExamples examples(log, split, {}, 1);
    FAIL() << examples.size();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("of 2 users none has two training events at different times"));
    EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
  }
}

TEST(TrainingExamplesTest, RefusesACursorOrARankOutsideItsRange) {
  const EventLog log = random_log(20, 1);
  const Split split = make_split(log, catalog_of(kRandomLogItems), {});
  const TrainingExamples examples(log, split, {}, 1);
  DataCursor cursor{0, examples.size()};
  EXPECT_THROW(examples.next(cursor, 8, 0, 1), InternalError);
  cursor = {0, 0};
  EXPECT_THROW(examples.next(cursor, 0, 0, 1), InternalError);
  EXPECT_THROW(examples.next(cursor, 8, 2, 2), InternalError);
}

TEST(ExampleOptionsTest, RefuseAHistoryOfNoEvents) {
  ExampleOptions options;
  options.history_max = 0;
  try {
    validate(options);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "history_max must be in [1, 100000], got 0");
  }
}

TEST(MakeInputsTest, AppliesTheHistoryRuleToCases) {
  const EventLog log = hand_made_log({{{1, 0, 0, 2}, {2, kDay, 0, 1}, {3, 3 * kDay}, {4, 3 * kDay}, {5, 3 * kDay}}});
  const Split split = make_split(log, catalog_of(9), {});
  ExampleOptions options;
  options.history_max = 2;
  const std::vector<EvaluationCase> cases{
      split.test.at(0), split.valid.at(0), {.user = 0, .history = {}, .targets = {5}, .masked = {}, .time = 0}};
  Batch batch = make_inputs(log, cases, options);
  EXPECT_THAT(batch.users, ElementsAre(0, 0, 0));
  EXPECT_THAT(batch.targets, ElementsAre(-1, -1, -1));
  EXPECT_THAT(batch.weights, ElementsAre(1, 1, 1));
  EXPECT_THAT(batch.examples, ElementsAre(0, 1, 2));
  EXPECT_EQ(batch.global_size, 3);
  EXPECT_THAT(batch.history_offsets, ElementsAre(0, 2, 4, 4));
  EXPECT_THAT(batch.history_items, ElementsAre(1, 2, 1, 2)) << "not the events at the target's own time";
  EXPECT_THAT(batch.history_age_days, ElementsAre(3, 2, 3, 2));
  EXPECT_THAT(batch.history_behaviours, ElementsAre(2, 1, 2, 1));
  EXPECT_THAT(batch.positive_offsets, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(batch.positives, IsEmpty());

  options.history_same_time = true;
  batch = make_inputs(log, std::span(cases).first(1), options);
  EXPECT_THAT(batch.history_items, ElementsAre(3, 4));
  EXPECT_EQ(make_inputs(log, {}, options).size(), 0);
}

}  // namespace
}  // namespace rondo
