#include "trainer/eval/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "tests/support/rank_test.h"
#include "tests/trainer/data/hand_made_log.h"
#include "trainer/eval/popular_fallback.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Json = nlohmann::json;
using testing::RankTest;

/// Finds the first target of every second user at a rank that depends on the user, and nothing of the others.
class HalfOracle final : public Ranker {
 public:
  explicit HalfOracle(const Catalog& catalog) : items_(static_cast<int32_t>(catalog.items())) {}

  std::string name() const override { return "rondo"; }
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override {
    RankedLists lists;
    for (const EvaluationCase& one : cases) {
      std::vector<int32_t> list;
      for (int32_t place = 0; place < items_; ++place) {
        const bool known =
            std::ranges::binary_search(one.masked, place) || std::ranges::binary_search(one.targets, place);
        if (!known) list.push_back(place);
      }
      const auto at = std::min<size_t>(list.size(), static_cast<size_t>(one.user % 7));
      if (one.user % 2 == 0) list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), one.targets.front());
      list.resize(std::min(list.size(), static_cast<size_t>(k)));
      lists.places.insert(lists.places.end(), list.begin(), list.end());
      lists.scores.resize(lists.places.size(), 0.0F);
      lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
    }
    return lists;
  }

 private:
  int32_t items_;
};

class Shop {
 public:
  explicit Shop(SplitKind kind = SplitKind::kLeaveOneOut) : options_{.kind = kind} {
    for (int32_t user = 0; user < 6; ++user) add_late_user(user);
    split_ = make_split(events_, catalog_, options_);
  }

  EvaluationData data(HeldOut held_out = HeldOut::kTest) const {
    return {catalog_, events_, split_, options_, held_out};
  }

  EvaluationReport run(Communicator& comm, const EvaluationData& data, const EvaluationOptions& options) const {
    HalfOracle model(catalog_);
    const auto floors = make_floors(comm, data, options);
    std::vector<Ranker*> rankers{&model};
    for (const auto& floor : floors) rankers.push_back(floor.get());
    return evaluate(comm, rankers, data, options);
  }

  /// The report of one rank alone, without the times.
  static std::vector<std::string> lines_without_time(EvaluationReport report) {
    for (RankerResult& result : report.rankers) result.seconds = 0.0;
    return to_json_lines(report);
  }

  /// Has events only when most others have gone.
  void add_late_user(int32_t user) {
    events_.user_keys.push_back(static_cast<uint64_t>(1000 + user));
    for (int32_t i = 0; i < 3; ++i) {
      events_.item.push_back((user + 5 * i) % static_cast<int32_t>(testing::kRandomLogItems));
      events_.time.push_back((100 + i) * testing::kDay);
      events_.basket.push_back(i);
      events_.behaviour.push_back(0);
      events_.value.push_back(1.0F);
    }
    events_.user_offsets.push_back(events_.events());
  }

  SplitOptions options_;
  EventLog events_ = testing::random_log(90, 4);
  Catalog catalog_ = testing::catalog_of(testing::kRandomLogItems);
  Split split_;
};

class EvaluationTest : public ::testing::Test, protected Shop {};

class EvaluationRankTest : public RankTest {};

TEST_P(EvaluationRankTest, IsTheSameForEveryWorldAndOnEveryRank) {
  const Shop shop;
  const auto alone = make_single_communicator({});
  const EvaluationOptions options{.k = {1, 5, 10}, .bootstrap = {.resamples = 50}};
  const auto expected = Shop::lines_without_time(shop.run(*alone, shop.data(), options));
  const auto expected_valid = Shop::lines_without_time(shop.run(*alone, shop.data(HeldOut::kValid), options));
  EXPECT_THAT(expected, SizeIs(3));
  on_each_rank([&](Communicator& comm) {
    EXPECT_EQ(Shop::lines_without_time(shop.run(comm, shop.data(), options)), expected);
    EXPECT_EQ(Shop::lines_without_time(shop.run(comm, shop.data(HeldOut::kValid), options)), expected_valid);
  });
}

TEST_P(EvaluationRankTest, ReportsUsersWithoutHistoryApartByTime) {
  const Shop shop(SplitKind::kGlobalTime);
  const auto alone = make_single_communicator({});
  const EvaluationOptions options{.k = {5}, .bootstrap = {.resamples = 20}};
  const EvaluationReport expected = shop.run(*alone, shop.data(), options);
  EXPECT_GT(expected.users_without_history, 0);
  EXPECT_EQ(expected.users + expected.users_without_history, expected.cases);
  EXPECT_EQ(expected.rankers[2].metrics_without_history[0], 0.0);  // item_knn has nothing to say to them
  EXPECT_GT(expected.rankers[1].metrics_without_history[0], 0.0);
  EXPECT_THAT(to_table(expected), HasSubstr("users without a history, not counted above"));
  on_each_rank([&](Communicator& comm) {
    EXPECT_EQ(Shop::lines_without_time(shop.run(comm, shop.data(), options)), Shop::lines_without_time(expected));
  });
}

TEST_P(EvaluationRankTest, ShowsUsersWithoutHistoryWhatIsPopular) {
  const Shop shop(SplitKind::kGlobalTime);
  on_each_rank([&](Communicator& comm) {
    const EvaluationOptions options{.k = {5}, .bootstrap = {.resamples = 0}};
    HalfOracle alone(shop.data().catalog);
    PopularFallback model(alone, shop.data());
    Popularity popular(shop.data(), FloorCounts::kTrain);
    const std::vector<Ranker*> rankers{&model, &alone, &popular};
    const auto results = evaluate(comm, rankers, shop.data(), options).rankers;
    EXPECT_EQ(results[0].name, "rondo");
    EXPECT_EQ(results[0].metrics, results[1].metrics);
    EXPECT_EQ(results[0].metrics_without_history, results[2].metrics_without_history);
    EXPECT_NE(results[0].metrics_without_history, results[1].metrics_without_history);
  });
}

TEST_F(EvaluationTest, MeasuresWhatTheListsSay) {
  const auto comm = make_single_communicator({});
  const EvaluationReport report = run(*comm, data(), {.k = {3, 10}});
  // By hand: an even user u has its one target at rank u % 7 + 1, or last in a shorter list.
  double hits = 0.0, reciprocal = 0.0, users = 0.0;
  for (const EvaluationCase& one : data().cases()) {
    users += 1.0;
    const int64_t others = testing::kRandomLogItems - 1 - static_cast<int64_t>(one.masked.size());
    const int64_t rank = std::min(one.user % 7, others) + 1;
    if (one.user % 2 == 1 || rank > 3) continue;
    hits += 1.0;
    reciprocal += 1.0 / static_cast<double>(rank);
  }
  const auto& model = report.rankers.front();
  EXPECT_EQ(report.users, static_cast<int64_t>(users));
  EXPECT_EQ(report.targets, report.users);
  EXPECT_GT(hits, 0.0);
  EXPECT_DOUBLE_EQ(model.metrics[static_cast<size_t>(report.columns.column(Metric::kHitRate, 0))], hits / users);
  EXPECT_DOUBLE_EQ(model.metrics[static_cast<size_t>(report.columns.column(Metric::kMrr, 0))], reciprocal / users);
  EXPECT_EQ(model.coverage.back(), 1.0);
  int64_t pairs = 0;
  for (int bucket = 0; bucket < BucketHits::kBuckets; ++bucket) pairs += model.buckets.pairs(bucket);
  EXPECT_EQ(pairs, report.targets);
}

TEST_F(EvaluationTest, IntervalsArePairedByUser) {
  const auto comm = make_single_communicator({});
  HalfOracle one(catalog_), same(catalog_);
  std::vector<Ranker*> rankers{&one, &same};
  const EvaluationReport report = evaluate(*comm, rankers, data(), {});
  EXPECT_THAT(report.rankers[0].first_minus_this, IsEmpty());
  for (const Interval& interval : report.rankers[1].first_minus_this) {
    EXPECT_EQ(interval.mean, 0.0);
    EXPECT_EQ(interval.low, 0.0);
    EXPECT_EQ(interval.high, 0.0);
  }
  const EvaluationReport floors = run(*comm, data(), {});
  const auto column = static_cast<size_t>(floors.columns.column(Metric::kNdcg, 0));
  const Interval& interval = floors.rankers[1].first_minus_this[column];
  EXPECT_DOUBLE_EQ(interval.mean, floors.rankers[0].metrics[column] - floors.rankers[1].metrics[column]);
  EXPECT_LT(interval.low, interval.mean);
  EXPECT_GT(interval.high, interval.mean);
}

TEST_F(EvaluationTest, SamplesUsersBySeed) {
  const EvaluationOptions options{.max_users = 11, .seed = 3};
  const auto sample = sample_cases(data(), options);
  ASSERT_THAT(sample, SizeIs(11));
  EXPECT_TRUE(std::ranges::is_sorted(sample, {}, &EvaluationCase::user));
  const auto users = [](const std::vector<EvaluationCase>& cases) {
    std::vector<int64_t> all;
    for (const EvaluationCase& one : cases) all.push_back(one.user);
    return all;
  };
  EXPECT_EQ(users(sample_cases(data(), options)), users(sample));
  EXPECT_NE(users(sample_cases(data(), {.max_users = 11, .seed = 4})), users(sample));
  EXPECT_EQ(users(sample_cases(data(), {.max_users = 100'000})), users(data().cases()));

  const auto comm = make_single_communicator({});
  const EvaluationReport report = run(*comm, data(), options);
  EXPECT_EQ(report.users, 11);
  EXPECT_THAT(to_table(report), HasSubstr(concat("11 users (sampled from ", data().cases().size(), ", seed 3)")));
}

TEST_F(EvaluationTest, SaysWhatWasSkippedAndWhatWasCounted) {
  const auto comm = make_single_communicator({});
  const EvaluationReport report =
      run(*comm, data(), {.floor_counts = FloorCounts::kTrainAndValid, .item_knn = {.max_items = 3}});
  EXPECT_EQ(report.rankers[1].counts, "train+valid");
  EXPECT_EQ(report.rankers[2].skipped, "12 items are more than item_knn_max_items = 3");
  EXPECT_THAT(to_table(report), HasSubstr("item_knn: skipped, 12 items are more than"));
  const Json line = Json::parse(to_json_lines(report)[2]);
  EXPECT_EQ(line["skipped"], report.rankers[2].skipped);
  EXPECT_FALSE(line.contains("metrics"));
  // On valid the floors must not count what is held out.
  EXPECT_EQ(run(*comm, data(HeldOut::kValid), {.floor_counts = FloorCounts::kTrainAndValid}).rankers[1].counts,
            "train");
}

TEST_F(EvaluationTest, LinesOfTheLogStandForThemselves) {
  const auto comm = make_single_communicator({});
  EvaluationReport report = run(*comm, data(), {.k = {5, 10}});
  report.step = 120;
  const auto lines = to_json_lines(report);
  ASSERT_THAT(lines, SizeIs(3));
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_THAT(lines[i], Not(HasSubstr("\n")));
    const Json line = Json::parse(lines[i]);
    EXPECT_EQ(line["event"], "eval");
    EXPECT_EQ(line["step"], 120);
    EXPECT_FALSE(line.contains("epoch"));
    EXPECT_EQ(line["split"], "test");
    EXPECT_EQ(line["model"], report.rankers[i].name);
    EXPECT_EQ(line["users"], report.users);
    EXPECT_EQ(line["catalogue"], 12);
    EXPECT_EQ(line["protocol"]["split"], "leave-one-out");
    EXPECT_EQ(line["protocol"]["history"], "masked");
    EXPECT_EQ(line["protocol"]["ties"], "row key");
    EXPECT_EQ(line["metrics"]["hr@10"], report.rankers[i].metrics[1]);
    EXPECT_EQ(line["metrics"]["coverage@5"], report.rankers[i].coverage[0]);
    EXPECT_EQ(line["buckets"][">20"]["targets"], report.rankers[i].buckets.pairs(3));
  }
  const Json model = Json::parse(lines[0]);
  EXPECT_EQ(model["minus"]["pop"]["ndcg@10"]["low"], report.rankers[1].first_minus_this[7].low);
  EXPECT_EQ(Json::parse(to_json(report))["evaluation"][2], Json::parse(lines[2]));
  EXPECT_EQ(Json::parse(lines[1])["counts"], "train");
}

TEST_F(EvaluationTest, WithoutCasesThereIsNothingToShow) {
  split_.test.clear();
  const auto comm = make_single_communicator({});
  const EvaluationReport report = run(*comm, data(), {});
  EXPECT_EQ(report.users, 0);
  EXPECT_THAT(to_table(report), HasSubstr("test: 0 users"));
  EXPECT_THAT(to_json_lines(report), SizeIs(3));
}

TEST(EvaluationOptionsTest, RefusesWhatIsOutOfRange) {
  EXPECT_NO_THROW(validate(EvaluationOptions{}));
  EXPECT_THROW(validate(EvaluationOptions{.k = {10, 5}}), ConfigError);
  EXPECT_THROW(validate(EvaluationOptions{.max_users = -1}), ConfigError);
  EXPECT_THROW(validate(EvaluationOptions{.item_knn = {.last_items = 0}}), ConfigError);
  EXPECT_THROW(validate(EvaluationOptions{.bootstrap = {.confidence = 0.0}}), ConfigError);
  EXPECT_THROW(validate(EvaluationOptions{.top_k = {.users_per_chunk = 0}}), ConfigError);
}

RONDO_INSTANTIATE_RANK_TEST(EvaluationRankTest);

}  // namespace
}  // namespace rondo
