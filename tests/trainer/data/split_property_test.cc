#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <set>

#include "tests/trainer/data/hand_made_log.h"
#include "trainer/data/split.h"

namespace rondo {
namespace {

using testing::catalog_of;
using testing::distinct;
using testing::kRandomLogItems;
using testing::random_log;

/// What a dull reading of the rules gives for one user: sets of event indices.
struct Expected {
  std::set<int64_t> training;
  std::set<int64_t> targets[2];  // valid, test
  std::set<int64_t> history[2];
};

/// Quadratic scans over one user's events, by the words of DESIGN 8 and nothing else.
class DullSplit {
 public:
  DullSplit(const EventLog& log, const SplitOptions& options) : log_(log), options_(options) {
    if (options.kind == SplitKind::kGlobalTime) cut_all();
  }

  Expected of(int64_t user) const {
    begin_ = log_.user_offsets[static_cast<size_t>(user)];
    end_ = log_.user_offsets[static_cast<size_t>(user) + 1];
    Expected expected;
    if (options_.kind == SplitKind::kGlobalTime) {
      by_time(expected);
    } else if (static_cast<int64_t>(items(begin_, end_).size()) < options_.min_user_events) {
      for (int64_t e = begin_; e < end_; ++e) expected.training.insert(e);
    } else if (options_.kind == SplitKind::kLeaveOneOut) {
      by_position(expected);
    } else {
      by_basket(expected);
    }
    return expected;
  }

 private:
  int64_t time(int64_t e) const { return log_.time[static_cast<size_t>(e)]; }
  int64_t basket(int64_t e) const { return log_.basket[static_cast<size_t>(e)]; }

  std::set<int32_t> items(int64_t begin, int64_t end) const {
    return {log_.item.begin() + begin, log_.item.begin() + end};
  }

  void by_position(Expected& expected) const {
    for (int64_t e = begin_; e < end_; ++e) {
      if (e == end_ - 1) expected.targets[1].insert(e);
      if (e == end_ - 2) expected.targets[0].insert(e);
      if (e < end_ - 2) expected.training.insert(e), expected.history[0].insert(e);
      if (e < end_ - 1) expected.history[1].insert(e);
    }
  }

  int64_t start_of(int64_t basket_value) const {
    for (int64_t e = begin_;; ++e) {
      if (basket(e) == basket_value) return e;
    }
  }

  /// The basket that starts last among those that start before event `limit`, if anything is strictly earlier.
  std::optional<int64_t> last_basket(int64_t limit) const {
    std::optional<int64_t> last;
    for (int64_t e = begin_; e < limit; ++e) {
      if (start_of(basket(e)) == e) last = e;
    }
    if (last && time(*last) > time(begin_)) return last;
    return std::nullopt;
  }

  void by_basket(Expected& expected) const {
    const auto test = last_basket(end_);
    const auto valid = test ? last_basket(*test) : std::nullopt;
    for (int64_t e = begin_; e < end_; ++e) {
      const bool in_test = test && basket(e) == basket(*test);
      const bool in_valid = valid && basket(e) == basket(*valid);
      if (in_test) expected.targets[1].insert(e);
      if (in_valid) expected.targets[0].insert(e);
      if (test && !in_test && time(e) < time(*test)) expected.history[1].insert(e);
      if (valid && !in_test && !in_valid && time(e) < time(*valid)) expected.history[0].insert(e);
      const auto first = valid ? valid : test;
      if (!in_test && !in_valid && (!first || time(e) < time(*first))) expected.training.insert(e);
    }
  }

  /// Tries every place to cut among the times before `end`.
  int64_t best_cut(double wanted, int64_t end) const {
    int64_t best = 0;
    double best_distance = INFINITY;
    for (const int64_t cut : std::set<int64_t>(log_.time.begin(), log_.time.end())) {
      const auto before = std::count_if(log_.time.begin(), log_.time.end(), [&](int64_t t) { return t < cut; });
      if (before == 0 || cut >= end || std::abs(static_cast<double>(before) - wanted) >= best_distance) continue;
      best = cut;
      best_distance = std::abs(static_cast<double>(before) - wanted);
    }
    return best;
  }

  void cut_all() {
    const auto events = static_cast<double>(log_.events());
    const double test_share = std::max(1.0, std::floor(events * options_.test_fraction));
    const double valid_share = std::max(1.0, std::floor(events * options_.valid_fraction));
    cuts_[1] = best_cut(events - test_share, std::numeric_limits<int64_t>::max());
    cuts_[0] = best_cut(events - test_share - valid_share, cuts_[1]);
  }

  void by_time(Expected& expected) const {
    for (int64_t e = begin_; e < end_; ++e) {
      if (time(e) < cuts_[0]) expected.training.insert(e), expected.history[0].insert(e);
      if (time(e) < cuts_[1]) expected.history[1].insert(e);
      if (time(e) >= cuts_[0] && time(e) < cuts_[1]) expected.targets[0].insert(e);
      if (time(e) >= cuts_[1]) expected.targets[1].insert(e);
    }
  }

  const EventLog& log_;
  SplitOptions options_;
  int64_t cuts_[2] = {0, 0};
  mutable int64_t begin_ = 0;
  mutable int64_t end_ = 0;
};

std::vector<int32_t> items_of(const EventLog& log, const std::set<int64_t>& events) {
  std::vector<int32_t> items;
  for (const int64_t e : events) items.push_back(log.item[static_cast<size_t>(e)]);
  return distinct(items);
}

/// Checks one case, if there must be one, and moves past it.
void expect_case(const EventLog& log, const Expected& expected, int which, Repeats repeats,
                 std::span<const EvaluationCase>& left, int64_t& dropped) {
  const auto history = items_of(log, expected.history[which]);
  auto targets = items_of(log, expected.targets[which]);
  if (repeats == Repeats::kDrop) {
    dropped += static_cast<int64_t>(std::erase_if(
        targets, [&](int32_t item) { return std::find(history.begin(), history.end(), item) != history.end(); }));
  }
  if (targets.empty()) return;
  ASSERT_FALSE(left.empty());
  const EvaluationCase& found = left.front();
  left = left.subspan(1);
  EXPECT_EQ(found.targets, targets);
  EXPECT_EQ(found.history, std::vector<int64_t>(expected.history[which].begin(), expected.history[which].end()));
  EXPECT_EQ(found.masked, repeats == Repeats::kDrop ? history : std::vector<int32_t>{});
}

class SplitPropertyTest : public ::testing::TestWithParam<std::tuple<SplitKind, Repeats, uint64_t>> {};

TEST_P(SplitPropertyTest, AgreesWithADullReadingOfTheRules) {
  const auto [kind, repeats, seed] = GetParam();
  const EventLog log = random_log(60, seed);
  SplitOptions options;
  options.kind = kind;
  options.repeats = repeats;
  const Split split = make_split(log, catalog_of(kRandomLogItems), options);
  const DullSplit dull(log, options);

  std::span<const EvaluationCase> valid(split.valid), test(split.test);
  std::set<int64_t> training;
  int64_t dropped = 0;
  for (int64_t user = 0; user < log.users(); ++user) {
    SCOPED_TRACE(user);
    const Expected expected = dull.of(user);
    training.insert(expected.training.begin(), expected.training.end());
    expect_case(log, expected, 0, repeats, valid, dropped);
    expect_case(log, expected, 1, repeats, test, dropped);
  }
  EXPECT_TRUE(valid.empty());
  EXPECT_TRUE(test.empty());
  EXPECT_GT(split.test.size(), 5U) << "the log holds too little to test with";
  EXPECT_EQ(split.dropped_repeats, dropped);
  EXPECT_EQ(split.training_targets, std::vector<int64_t>(training.begin(), training.end()));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, SplitPropertyTest,
    ::testing::Combine(::testing::Values(SplitKind::kLeaveOneOut, SplitKind::kLastBasketOut, SplitKind::kGlobalTime),
                       ::testing::Values(Repeats::kDrop, Repeats::kKeepUnmasked), ::testing::Range<uint64_t>(1, 9)));

class AnySplitTest : public ::testing::TestWithParam<SplitKind> {};

TEST_P(AnySplitTest, CountsWhatTrainsAndShowsNoTargetBeforeItsTime) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const EventLog log = random_log(60, seed);
    SplitOptions options;
    options.kind = GetParam();
    options.repeats = Repeats::kKeepUnmasked;
    const Split split = make_split(log, catalog_of(kRandomLogItems), options);
    std::vector<int64_t> targets, counts(kRandomLogItems);
    for (int64_t e = 0; e < log.events(); ++e) {
      if (split.is_training[static_cast<size_t>(e)] == 0) continue;
      targets.push_back(e);
      ++counts[static_cast<size_t>(log.item[static_cast<size_t>(e)])];
    }
    EXPECT_EQ(split.training_targets, targets);
    EXPECT_EQ(split.training_counts, counts);
    for (const EvaluationCase& one : split.valid) {
      for (const int64_t e : one.history) EXPECT_EQ(split.is_training[static_cast<size_t>(e)], 1);
    }
    for (const auto& cases : {split.valid, split.test}) {
      for (const EvaluationCase& one : cases) {
        EXPECT_TRUE(std::is_sorted(one.history.begin(), one.history.end()));
        for (const int64_t e : one.history) EXPECT_LE(log.time[static_cast<size_t>(e)], one.time);
      }
    }
  }
}

TEST_P(AnySplitTest, DoesNotDependOnWhatHeldOutEventsSay) {
  // Whatever the held-out events say, what trains and its counts stay.
  EventLog log = random_log(60, 4);
  SplitOptions options;
  options.kind = GetParam();
  options.min_user_events = 1;
  const Split split = make_split(log, catalog_of(kRandomLogItems), options);
  for (size_t e = 0; e < log.item.size(); ++e) {
    if (split.is_training[e] == 0) log.item[e] = (log.item[e] + 5) % kRandomLogItems;
  }
  const Split changed = make_split(log, catalog_of(kRandomLogItems), options);
  EXPECT_EQ(changed.is_training, split.is_training);
  EXPECT_EQ(changed.training_counts, split.training_counts);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AnySplitTest,
                         ::testing::Values(SplitKind::kRandom, SplitKind::kLeaveOneOut, SplitKind::kLastBasketOut,
                                           SplitKind::kGlobalTime));

/// RecBole's 'RS' 8:1:1 by user: (training, valid, test) by number of events, worked from its rule by hand.
TEST(RandomCountsTest, AreThoseOfRecBole) {
  const int64_t expected[][3] = {{1, 0, 0}, {1, 0, 1}, {1, 1, 1},  {2, 1, 1},  {7, 1, 1},
                                 {8, 1, 1}, {9, 1, 1}, {17, 1, 1}, {16, 2, 2}, {24, 3, 3}};
  for (const auto& [training, valid, test] : expected) {
    std::vector<testing::HandMadeEvent> user;
    for (int32_t i = 0; i < training + valid + test; ++i) user.push_back({i, i});
    SplitOptions options;
    options.kind = SplitKind::kRandom;
    options.min_user_events = 1;
    const Split split = make_split(testing::hand_made_log({user}), catalog_of(100), options);
    EXPECT_EQ(static_cast<int64_t>(split.training_targets.size()), training) << user.size() << " events";
    EXPECT_EQ(split.valid.empty() ? 0 : static_cast<int64_t>(split.valid[0].targets.size()), valid);
    EXPECT_EQ(split.test.empty() ? 0 : static_cast<int64_t>(split.test[0].targets.size()), test);
  }
}

}  // namespace
}  // namespace rondo
