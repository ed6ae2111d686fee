#include "trainer/eval/hidden_evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sharding/base/random.h"
#include "tests/support/rank_test.h"
#include "tests/support/tiny_shop.h"
#include "trainer/data/hidden_items.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::RankTest;
using testing::TinyShop;

/// Ranks the candidates in an order that depends on the user; every second user's first target comes first.
class Shuffler final : public Ranker {
 public:
  explicit Shuffler(std::vector<int32_t> candidates) : candidates_(std::move(candidates)) {}

  std::string name() const override { return "rondo"; }
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override {
    RankedLists lists;
    for (const EvaluationCase& one : cases) {
      const std::vector<int32_t> list = list_of(one, k);
      lists.places.insert(lists.places.end(), list.begin(), list.end());
      lists.scores.resize(lists.places.size(), 0.0F);
      lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
    }
    return lists;
  }

  std::vector<int32_t> list_of(const EvaluationCase& one, int64_t k) const {
    const CounterRandom random(1, 0, RandomPurpose::kTest);
    std::vector<std::pair<uint64_t, int32_t>> order;
    for (const int32_t place : candidates_) {
      if (std::ranges::binary_search(one.masked, place)) continue;
      const bool first = one.user % 2 == 0 && place == one.targets.front();
      order.emplace_back(first ? 0 : random.bits(static_cast<uint64_t>(one.user), static_cast<uint64_t>(place)), place);
    }
    std::ranges::sort(order);
    std::vector<int32_t> list;
    for (const auto& [draw, place] : order) list.push_back(place);
    list.resize(std::min(list.size(), static_cast<size_t>(k)));
    return list;
  }

 private:
  std::vector<int32_t> candidates_;
};

struct HiddenShop : TinyShop {
  HiddenShop() : TinyShop(150, 40) { hide_items(events, catalog, {.fraction = 0.4, .seed = 2}, split); }
  EvaluationData data() const { return {catalog, events, split, {}, HeldOut::kTest}; }
};

class HiddenEvaluationTest : public RankTest {};

TEST_P(HiddenEvaluationTest, CountsWhatAnybodyWouldCount) {
  const HiddenShop shop;
  const auto cases = hidden_cases(shop.data());
  const std::vector<int64_t> ks{2, 5};
  const BootstrapOptions bootstrap{.resamples = 200, .confidence = 0.9, .seed = 3};
  ASSERT_GT(cases.size(), 20U);
  Shuffler oracle(shop.split.hidden);
  double recall = 0.0, random = 0.0;
  std::vector<double> recalls, randoms;
  for (const EvaluationCase& one : cases) {
    const auto list = oracle.list_of(one, 5);
    double hits = 0.0, left = 0.0;
    for (const int32_t target : one.targets) hits += std::ranges::count(list, target) > 0 ? 1.0 : 0.0;
    for (const int32_t place : shop.split.hidden) left += std::ranges::count(one.masked, place) > 0 ? 0.0 : 1.0;
    recall += recalls.emplace_back(hits / static_cast<double>(one.targets.size()));
    random += randoms.emplace_back(std::min(1.0, 5.0 / left));
  }
  std::vector<double> drawn;
  const CounterRandom draws(3, 0, RandomPurpose::kBootstrap);
  for (uint64_t b = 0; b < 200; ++b) {
    double up = 0.0, down = 0.0;
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto user = static_cast<size_t>(draws.below(cases.size(), b, i));
      up += recalls[user];
      down += randoms[user];
    }
    drawn.push_back(up / down);
  }
  std::ranges::sort(drawn);
  on_each_rank([&](Communicator& comm) {
    Shuffler ranker(shop.split.hidden);
    const HiddenRecall got = measure_hidden(comm, ranker, cases, shop.split.hidden, ks, bootstrap);
    const auto users = static_cast<double>(cases.size());
    EXPECT_EQ(got.candidates, static_cast<int64_t>(shop.split.hidden.size()));
    EXPECT_NEAR(got.recall[1], recall / users, 1e-12);
    EXPECT_NEAR(got.random[1], random / users, 1e-12);
    EXPECT_NEAR(got.times_random[1].mean, recall / random, 1e-12);
    EXPECT_GE(got.times_random[1].low, drawn[9]);  // 5 % of 199 gaps lie between the 10th and the 11th
    EXPECT_LE(got.times_random[1].low, drawn[10]);
    EXPECT_GE(got.times_random[1].high, drawn[189]);
    EXPECT_LE(got.times_random[1].high, drawn[190]);
    EXPECT_LT(got.recall[0], got.recall[1]);
  });
}

TEST_P(HiddenEvaluationTest, ARandomOrderFindsWhatIsExpectedOfIt) {
  const HiddenShop shop;
  std::vector<EvaluationCase> cases;
  for (int64_t repeat = 0; repeat < 50; ++repeat) {
    for (EvaluationCase& one : hidden_cases(shop.data())) {
      one.user = 2 * static_cast<int64_t>(cases.size()) + 1;  // an order of its own, and no target comes first
      cases.push_back(one);
    }
  }
  on_each_rank([&](Communicator& comm) {
    Shuffler ranker(shop.split.hidden);
    const std::vector<int64_t> ks{4};
    const HiddenRecall got = measure_hidden(comm, ranker, cases, shop.split.hidden, ks, {.resamples = 0});
    EXPECT_GT(got.times_random[0].mean, 0.9);
    EXPECT_LT(got.times_random[0].mean, 1.1);
    EXPECT_EQ(got.times_random[0].low, got.times_random[0].mean);
  });
}

RONDO_INSTANTIATE_RANK_TEST(HiddenEvaluationTest);

TEST(HiddenCasesTest, AreUsersWithAHistoryWhoTookHiddenItems) {
  HiddenShop shop;
  shop.split.test[0].targets = {shop.split.hidden[0], shop.split.hidden[1]};
  shop.split.test[0].history.clear();
  shop.split.test[1].targets = {shop.split.hidden[0], shop.split.hidden[1]};
  const int32_t seen = shop.split.hidden[0] == 0 ? 1 : 0;
  if (!std::ranges::binary_search(shop.split.hidden, seen)) shop.split.test[1].targets.push_back(seen);
  std::ranges::sort(shop.split.test[1].targets);
  ASSERT_FALSE(shop.split.test[1].history.empty());
  const auto cases = hidden_cases(shop.data());
  EXPECT_EQ(cases.front().user, shop.split.test[1].user);
  EXPECT_EQ(cases.front().targets, (std::vector<int32_t>{shop.split.hidden[0], shop.split.hidden[1]}));

  // An item that nobody can be recommended is not looked for.
  shop.split.candidates = {shop.split.hidden[1]};
  EXPECT_EQ(hidden_candidates(shop.data()), shop.split.candidates);
  EXPECT_EQ(hidden_cases(shop.data()).front().targets, shop.split.candidates);
}

TEST(HiddenReportTest, SaysItToMachinesAndPeople) {
  HiddenReport report;
  report.step = 7;
  report.held_out = "test";
  report.hidden = 1200;
  report.users = 30;
  report.targets = 33;
  report.k = {20};
  report.resamples = 1000;
  report.recalls.push_back({"hidden", 1200, {0.1}, {0.02}, {{5.0, 4.0, 6.0}}});
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["event"], "eval_hidden");
  EXPECT_EQ(json["among_hidden"]["candidates"], 1200);
  EXPECT_EQ(json["among_hidden"]["recall@20"]["times_random"], 5.0);
  EXPECT_EQ(json["among_hidden"]["recall@20"]["low"], 4.0);
  EXPECT_THAT(to_table(report), HasSubstr("1,200 withheld from training; 30 users took 33 of them in test"));
  EXPECT_THAT(to_table(report), HasSubstr("0.1000, random 0.0200, 5.00 times [4.00, 6.00]"));
}

}  // namespace
}  // namespace rondo
