#include "trainer/eval/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sharding/base/error.h"

namespace rondo {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MetricColumnsTest : public ::testing::Test {
 protected:
  double measured(std::vector<int32_t> list, std::vector<int32_t> targets, Metric metric, size_t cutoff) {
    std::vector<double> row(static_cast<size_t>(columns_.size()), -1.0);
    columns_.measure(list, targets, row);
    return row[static_cast<size_t>(columns_.column(metric, cutoff))];
  }

  MetricColumns columns_{{1, 3, 5}};
};

// Two of three held-out items at ranks 2 and 5:
//   K = 3: recall 1/3, precision 1/3, ndcg (1/log2 3) / (1 + 1/log2 3 + 1/log2 4), mrr 1/2
//   K = 5: recall 2/3, precision 2/5, ndcg (1/log2 3 + 1/log2 6) / (1 + 1/log2 3 + 1/2)
TEST_F(MetricColumnsTest, AgreesWithAHandWorkedList) {
  const std::vector<int32_t> list{7, 2, 9, 4, 5, 1}, targets{1, 2, 5};
  EXPECT_EQ(measured(list, targets, Metric::kHitRate, 0), 0.0);
  EXPECT_EQ(measured(list, targets, Metric::kHitRate, 1), 1.0);
  EXPECT_DOUBLE_EQ(measured(list, targets, Metric::kRecall, 1), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(measured(list, targets, Metric::kRecall, 2), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(measured(list, targets, Metric::kPrecision, 1), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(measured(list, targets, Metric::kPrecision, 2), 2.0 / 5.0);
  EXPECT_EQ(measured(list, targets, Metric::kMrr, 0), 0.0);
  EXPECT_DOUBLE_EQ(measured(list, targets, Metric::kMrr, 1), 0.5);
  EXPECT_DOUBLE_EQ(measured(list, targets, Metric::kMrr, 2), 0.5);
  EXPECT_NEAR(measured(list, targets, Metric::kNdcg, 1), 0.630929753571457 / 2.130929753571457, 1e-12);
  EXPECT_NEAR(measured(list, targets, Metric::kNdcg, 2), (0.630929753571457 + 0.386852807234542) / 2.130929753571457,
              1e-12);
}

TEST_F(MetricColumnsTest, IdealGainStopsAtTheListNotAtTheHeldOutItems) {
  // K = 1 with three held-out items: the best possible gain is that of one hit.
  EXPECT_DOUBLE_EQ(measured({2, 9}, {1, 2, 5}, Metric::kNdcg, 0), 1.0);
  EXPECT_DOUBLE_EQ(measured({2, 9}, {1, 2, 5}, Metric::kRecall, 0), 1.0 / 3.0);
}

TEST_F(MetricColumnsTest, LastRankWithinKCountsAndTheNextDoesNot) {
  EXPECT_EQ(measured({8, 9, 3}, {3}, Metric::kHitRate, 1), 1.0);
  EXPECT_EQ(measured({8, 9, 7, 3}, {3}, Metric::kHitRate, 1), 0.0);
  EXPECT_DOUBLE_EQ(measured({8, 9, 3}, {3}, Metric::kNdcg, 1), 0.5);  // 1 / log2(4)
}

TEST_F(MetricColumnsTest, ShortAndEmptyListsCountAsK) {
  EXPECT_DOUBLE_EQ(measured({3}, {3}, Metric::kPrecision, 2), 0.2);
  EXPECT_DOUBLE_EQ(measured({3}, {3}, Metric::kNdcg, 2), 1.0);
  for (const Metric metric : kMetrics) EXPECT_EQ(measured({}, {3}, metric, 2), 0.0) << name_of(metric);
}

TEST_F(MetricColumnsTest, NamesColumnsInOrder) {
  EXPECT_EQ(columns_.size(), 15);
  EXPECT_EQ(columns_.name(0), "hr@1");
  EXPECT_EQ(columns_.name(columns_.column(Metric::kNdcg, 2)), "ndcg@5");
  EXPECT_EQ(columns_.name(14), "mrr@5");
}

TEST_F(MetricColumnsTest, MeansAreOverUsers) {
  EXPECT_THAT(column_means(std::vector<double>{1, 0, 0, 0.5, 0.5, 1}, 2), ElementsAre(DoubleEq(0.5), DoubleEq(0.5)));
  EXPECT_TRUE(column_means({}, 2).empty());
}

TEST_F(MetricColumnsTest, RefusesCutoffsOutOfOrderOrRange) {
  for (const auto& ks : std::vector<std::vector<int64_t>>{{}, {0}, {5, 5}, {10, 5}, {70'000}}) {
    try {
      const MetricColumns columns(ks);
      ADD_FAILURE() << "accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("k must be ascending"));
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    }
  }
}

TEST(BucketHitsTest, CountsPairsByTrainingCountOfTheTarget) {
  const std::vector<int64_t> counts{0, 1, 5, 6, 20, 21};
  BucketHits hits({1, 3});
  hits.add(std::vector<int32_t>{4, 0, 2}, std::vector<int32_t>{0, 2, 5}, counts);
  hits.add(std::vector<int32_t>{5}, std::vector<int32_t>{1, 3, 4, 5}, counts);
  EXPECT_EQ(hits.pairs(0), 1);
  EXPECT_EQ(hits.pairs(1), 2);
  EXPECT_EQ(hits.pairs(2), 2);
  EXPECT_EQ(hits.pairs(3), 2);
  EXPECT_EQ(hits.hit_rate(0, 0), 0.0);
  EXPECT_EQ(hits.hit_rate(0, 1), 1.0);
  EXPECT_EQ(hits.hit_rate(1, 1), 0.5);
  EXPECT_EQ(hits.hit_rate(2, 1), 0.0);
  EXPECT_EQ(hits.hit_rate(3, 0), 0.5);
}

TEST(BucketHitsTest, WithOneTargetAUserTheBucketsAddUpToTheHitRate) {
  const std::vector<int64_t> counts{0, 3, 10, 30, 100};
  const MetricColumns columns({2});
  BucketHits hits({2});
  std::vector<double> row(static_cast<size_t>(columns.size()));
  double hit_rate = 0.0;
  for (int32_t target = 0; target < 5; ++target) {
    const std::vector<int32_t> list{(target * 3 + 1) % 5, (target * 2) % 5};
    hits.add(list, std::vector<int32_t>{target}, counts);
    columns.measure(list, std::vector<int32_t>{target}, row);
    hit_rate += row[static_cast<size_t>(columns.column(Metric::kHitRate, 0))];
  }
  double sum = 0.0;
  for (int bucket = 0; bucket < BucketHits::kBuckets; ++bucket) {
    sum += static_cast<double>(hits.pairs(bucket)) * hits.hit_rate(bucket, 0);
  }
  EXPECT_GT(hit_rate, 0.0);
  EXPECT_DOUBLE_EQ(sum, hit_rate);
}

TEST(ItemCoverageTest, CountsDistinctItemsAtEachK) {
  ItemCoverage coverage(3);
  coverage.add(std::vector<int32_t>{1, 2, 3, 9});  // rank 4 is beyond the largest K
  coverage.add(std::vector<int32_t>{1, 3, 4});
  EXPECT_EQ(coverage.items_within(1), 1);  // 1
  EXPECT_EQ(coverage.items_within(2), 3);  // 1, 2, 3: 3 counts by its better rank
  EXPECT_EQ(coverage.items_within(3), 4);
}

TEST(ItemCoverageTest, MergesWhatOtherRanksSaw) {
  ItemCoverage mine(2), other(2);
  mine.add(std::vector<int32_t>{5, 6});
  other.add(std::vector<int32_t>{6, 7});
  mine.merge(other.seen());
  EXPECT_EQ(mine.items_within(1), 2);  // 5, 6
  EXPECT_EQ(mine.items_within(2), 3);
  EXPECT_EQ(ItemCoverage(2).items_within(2), 0);
}

TEST(ItemCoverageTest, StaysSmallOverManyLists) {
  ItemCoverage coverage(4);
  for (int32_t user = 0; user < 100'000; ++user) {
    coverage.add(std::vector<int32_t>{user % 7, user % 11 + 7, user % 13 + 18, 31});
  }
  EXPECT_EQ(coverage.items_within(4), 32);
  EXPECT_EQ(coverage.items_within(1), 7);
  EXPECT_EQ(coverage.seen().size(), 32U);
}

}  // namespace
}  // namespace rondo
