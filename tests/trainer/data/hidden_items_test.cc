#include "trainer/data/hidden_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "sharding/base/error.h"
#include "tests/support/tiny_shop.h"
#include "trainer/data/examples.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TinyShop;

constexpr HiddenItemOptions kThird{.fraction = 0.3, .seed = 4};

class HiddenItemsTest : public ::testing::Test {
 protected:
  HiddenItemsTest() : shop_(200, 30), before_(shop_.split) {
    hide_items(shop_.events, shop_.catalog, kThird, shop_.split);
    hidden_.insert(shop_.split.hidden.begin(), shop_.split.hidden.end());
  }

  bool is_hidden(int64_t event) const { return hidden_.contains(shop_.events.item[static_cast<size_t>(event)]); }

  TinyShop shop_;
  Split before_;
  std::set<int32_t> hidden_;
};

TEST_F(HiddenItemsTest, NoExampleShowsAHiddenItem) {
  ASSERT_GT(hidden_.size(), 3U);
  ASSERT_LT(hidden_.size(), 20U);
  const TrainingExamples examples(shop_.events, shop_.split, {.history_same_time = true}, 1);
  DataCursor cursor;
  const Batch batch = examples.next(cursor, examples.size(), 0, 1);
  ASSERT_GT(batch.size(), 100);
  for (const auto* places : {&batch.targets, &batch.history_items, &batch.positives}) {
    EXPECT_FALSE(places->empty());
    for (const int32_t place : *places) EXPECT_FALSE(hidden_.contains(place)) << place;
  }
}

TEST_F(HiddenItemsTest, TakesTheirEventsAwayAndNothingElse) {
  for (int64_t event = 0; event < shop_.events.events(); ++event) {
    const auto e = static_cast<size_t>(event);
    EXPECT_EQ(shop_.split.is_training[e], is_hidden(event) ? 0 : before_.is_training[e]);
  }
  std::vector<int64_t> targets = before_.training_targets;
  std::erase_if(targets, [&](int64_t event) { return is_hidden(event); });
  EXPECT_EQ(shop_.split.training_targets, targets);
  for (size_t item = 0; item < before_.training_counts.size(); ++item) {
    const bool hides = hidden_.contains(static_cast<int32_t>(item));
    EXPECT_EQ(shop_.split.training_counts[item], hides ? 0 : before_.training_counts[item]);
  }
  int64_t without_history = 0, targets_hidden = 0;
  for (const auto part : {&Split::valid, &Split::test}) {
    ASSERT_EQ((shop_.split.*part).size(), (before_.*part).size());
    for (size_t i = 0; i < (before_.*part).size(); ++i) {
      const EvaluationCase &one = (shop_.split.*part)[i], &other = (before_.*part)[i];
      EXPECT_EQ(one.targets, other.targets);
      EXPECT_EQ(one.masked, other.masked) << "what a user had is not recommended to it, hidden or not";
      std::vector<int64_t> history = other.history;
      std::erase_if(history, [&](int64_t event) { return is_hidden(event); });
      EXPECT_EQ(one.history, history);
      without_history += history.empty() ? 1 : 0;
      targets_hidden += hidden_.contains(one.targets.front()) ? 1 : 0;
    }
  }
  EXPECT_EQ(shop_.split.users_without_history, without_history);
  EXPECT_GT(targets_hidden, 10);
}

TEST_F(HiddenItemsTest, TheKeyOfAnItemDecides) {
  TinyShop turned(200, 30);
  std::ranges::reverse(turned.catalog.keys);
  turned.catalog.build_index();
  hide_items(turned.events, turned.catalog, kThird, turned.split);
  std::set<int32_t> mirrored;
  for (const int32_t place : turned.split.hidden) mirrored.insert(29 - place);
  EXPECT_EQ(mirrored, hidden_);

  TinyShop other(200, 30), none(200, 30);
  hide_items(other.events, other.catalog, {.fraction = 0.3, .seed = 5}, other.split);
  EXPECT_NE(other.split.hidden, shop_.split.hidden);
  hide_items(none.events, none.catalog, {}, none.split);
  EXPECT_THAT(none.split.hidden, IsEmpty());
  EXPECT_EQ(none.split.training_targets, before_.training_targets);
}

TEST(HiddenItemOptionsTest, RefusesAFractionThatHidesAll) {
  try {
    validate(HiddenItemOptions{.fraction = 1.0});
    ADD_FAILURE() << "nothing thrown";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("fraction must be in [0, 1), got 1"));
  }
}

}  // namespace
}  // namespace rondo
