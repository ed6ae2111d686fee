#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <set>
#include <sstream>
#include <tuple>

#include "tests/support/rank_test.h"
#include "tests/trainer/data/hand_made_log.h"
#include "trainer/eval/evaluation.h"
#include "trainer/eval/item_knn.h"
#include "trainer/eval/popularity.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using testing::hand_made_log;
using testing::HandMadeEvent;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RankTest;

std::vector<int32_t> places(const RankedLists& lists, int64_t i) {
  const auto list = lists.list(i);
  return {list.begin(), list.end()};
}

/// Users and their items in order of time. Row keys run against the places, so that ties show which one counts.
class Dataset {
 public:
  Dataset(const std::vector<std::vector<int32_t>>& sequences, int64_t items) {
    std::vector<std::vector<HandMadeEvent>> users;
    for (const auto& sequence : sequences) {
      auto& user = users.emplace_back();
      for (const int32_t item : sequence) user.push_back({item, static_cast<int64_t>(user.size()), 0, 0});
    }
    events_ = hand_made_log(users);
    for (int64_t item = 0; item < items; ++item) catalog_.keys.push_back(static_cast<uint64_t>(1000 - item));
    split_ = make_split(events_, catalog_, {});
  }

  Split& split() { return split_; }
  EvaluationData data(HeldOut held_out = HeldOut::kTest) const { return {catalog_, events_, split_, {}, held_out}; }

 private:
  Catalog catalog_;
  EventLog events_;
  Split split_;
};

// Training part (without each user's last two):  user 0: {0, 1, 2}   1: {0, 1}   2: {1, 3}   3: {2, 3}
// Users of an item: 0: {0, 1}   1: {0, 1, 2}   2: {0, 3}   3: {2, 3}   4, 5: none
// Counts: 2 3 2 2 0 0; with valid (4, 2, 0, 4): 3 3 3 2 2 0
Dataset small() { return {{{0, 1, 2, 4, 3}, {0, 1, 2, 3}, {1, 3, 0, 5}, {2, 3, 4, 0}}, 6}; }

TEST(PopularityTest, OrdersByCountThenKeyWithoutTheHistory) {
  const Dataset dataset = small();
  Popularity pop(dataset.data(), FloorCounts::kTrain);
  const auto lists = pop.rank(dataset.data().cases(), 3);
  // 1, then 3 2 0 (equal, larger place has smaller key), then 5 4.
  EXPECT_THAT(places(lists, 0), ElementsAre(3, 5));  // history 0 1 2 4
  EXPECT_THAT(places(lists, 1), ElementsAre(3, 5, 4));
  EXPECT_THAT(places(lists, 2), ElementsAre(2, 5, 4));
  EXPECT_THAT(places(lists, 3), ElementsAre(1, 0, 5));
  EXPECT_EQ(lists.list_scores(3)[0], 3.0F);
  EXPECT_EQ(pop.counts(), "train");
}

TEST(PopularityTest, CountsValidWhenAsked) {
  const Dataset dataset = small();
  Popularity pop(dataset.data(), FloorCounts::kTrainAndValid);
  const std::vector<EvaluationCase> nobody(1);
  const auto lists = pop.rank(nobody, 10);
  EXPECT_THAT(places(lists, 0), ElementsAre(2, 1, 0, 4, 3, 5));
  EXPECT_EQ(pop.counts(), "train+valid");
}

TEST(PopularityTest, RanksOnlyCandidates) {
  Dataset dataset = small();
  dataset.split().candidates = {0, 2, 5};
  Popularity pop(dataset.data(), FloorCounts::kTrain);
  EXPECT_THAT(places(pop.rank(std::vector<EvaluationCase>(1), 10), 0), ElementsAre(2, 0, 5));
}

class ItemKnnTest : public RankTest {};

TEST_P(ItemKnnTest, AgreesWithAHandWorkedCase) {
  const Dataset dataset = small();
  on_each_rank([&](Communicator& comm) {
    ItemKnn knn(comm, dataset.data(), FloorCounts::kTrain);
    const auto& cases = dataset.data().cases();
    EXPECT_EQ(knn.prepare(cases), "");
    const auto lists = knn.rank(cases, 10);
    // User 2, history 1 3 0: only 2 is left. 1-2 share user 0: 1/sqrt(3*2); 3-2 share user 3: 1/2; 0-2 share user 0:
    // 1/2.
    EXPECT_THAT(places(lists, 2), ElementsAre(2));
    EXPECT_THAT(lists.list_scores(2)[0], FloatEq(1.0F / std::sqrt(6.0F) + 1.0F));
    // User 3, history 2 3 4: 1 gets 1/sqrt(6) of 2 and 1/sqrt(6) of 3; 0 gets 1/2 of 2. 5 shares nobody.
    EXPECT_THAT(places(lists, 3), ElementsAre(1, 0));
    EXPECT_THAT(lists.list_scores(3)[0], FloatEq(2.0F / std::sqrt(6.0F)));
    EXPECT_THAT(lists.list_scores(3)[1], FloatEq(0.5F));
  });
}

TEST_P(ItemKnnTest, AsksTheLatestDistinctItemsOnly) {
  const Dataset dataset = small();
  on_each_rank([&](Communicator& comm) {
    ItemKnn knn(comm, dataset.data(), FloorCounts::kTrain, {.last_items = 1});
    // The latest is 3 (twice: one item); 2 and 1 are its neighbours: 1/2 and 1/sqrt(6).
    EvaluationCase one;
    one.history = {0, 14, 14};  // events: item 0, then item 3 of user 3
    EXPECT_EQ(dataset.data().events.item[14], 3);
    EXPECT_EQ(knn.prepare({&one, 1}), "");
    EXPECT_THAT(places(knn.rank({&one, 1}, 10), 0), ElementsAre(2, 1));
  });
}

TEST_P(ItemKnnTest, WithoutAHistoryThereIsNothingToSay) {
  const Dataset dataset = small();
  on_each_rank([&](Communicator& comm) {
    ItemKnn knn(comm, dataset.data(), FloorCounts::kTrain);
    const std::vector<EvaluationCase> cases(comm.rank() == 0 ? 2 : 0);
    EXPECT_EQ(knn.prepare(cases), "");
    const auto lists = knn.rank(cases, 10);
    EXPECT_EQ(lists.size(), static_cast<int64_t>(cases.size()));
    EXPECT_THAT(lists.places, IsEmpty());
  });
}

TEST_P(ItemKnnTest, SaysWhyItIsSkipped) {
  const Dataset dataset = small();
  on_each_rank([&](Communicator& comm) {
    const auto& all = dataset.data().cases();
    const std::span<const EvaluationCase> mine(all.data(), comm.rank() == 0 ? all.size() : 0);
    ItemKnn many(comm, dataset.data(), FloorCounts::kTrain, {.max_items = 5});
    EXPECT_EQ(many.prepare(mine), "6 items are more than item_knn_max_items = 5");
    ItemKnn work(comm, dataset.data(), FloorCounts::kTrain, {.max_work = 3});
    EXPECT_THAT(work.prepare(mine), HasSubstr("additions are more than item_knn_max_work = 3"));
  });
}

/// The definition, pair by pair.
RankedLists dull_item_knn(const EvaluationData& data, int64_t k) {
  const auto items = static_cast<size_t>(data.catalog.items());
  std::vector<std::set<int64_t>> users(items);
  for (int64_t user = 0; user < data.events.users(); ++user) {
    for (int64_t e = data.events.user_offsets[static_cast<size_t>(user)];
         e < data.events.user_offsets[static_cast<size_t>(user) + 1]; ++e) {
      const auto at = static_cast<size_t>(e);
      if (data.split.is_training[at] != 0) users[static_cast<size_t>(data.events.item[at])].insert(user);
    }
  }
  RankedLists lists;
  for (const EvaluationCase& one : data.cases()) {
    std::vector<size_t> query;
    for (auto e = one.history.rbegin(); e != one.history.rend() && query.size() < 5; ++e) {
      const auto item = static_cast<size_t>(data.events.item[static_cast<size_t>(*e)]);
      if (std::find(query.begin(), query.end(), item) == query.end()) query.push_back(item);
    }
    std::sort(query.begin(), query.end());
    std::vector<std::tuple<float, uint64_t, int32_t>> found;
    for (size_t j = 0; j < items; ++j) {
      if (std::find(one.masked.begin(), one.masked.end(), static_cast<int32_t>(j)) != one.masked.end()) continue;
      double sum = 0.0;
      for (const size_t i : query) {
        if (i == j || users[i].empty() || users[j].empty()) continue;
        const auto shared =
            std::count_if(users[i].begin(), users[i].end(), [&](int64_t u) { return users[j].contains(u); });
        sum += static_cast<double>(shared) / std::sqrt(static_cast<double>(users[i].size() * users[j].size()));
      }
      if (sum > 0.0) found.emplace_back(-static_cast<float>(sum), data.catalog.keys[j], static_cast<int32_t>(j));
    }
    std::sort(found.begin(), found.end());
    for (size_t i = 0; i < std::min(found.size(), static_cast<size_t>(k)); ++i) {
      lists.places.push_back(std::get<2>(found[i]));
    }
    lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
  }
  return lists;
}

TEST(ItemKnnPropertyTest, AgreesWithTheDefinitionOnRandomLogs) {
  const auto comm = make_single_communicator({});
  for (uint64_t seed = 0; seed < 5; ++seed) {
    for (const Repeats repeats : {Repeats::kDrop, Repeats::kKeepUnmasked}) {
      const EventLog events = testing::random_log(60, seed);
      const Catalog catalog = testing::catalog_of(testing::kRandomLogItems);
      const SplitOptions options{.kind = SplitKind::kGlobalTime, .repeats = repeats};
      const Split split = make_split(events, catalog, options);
      const EvaluationData data{catalog, events, split, options};
      ItemKnn knn(*comm, data, FloorCounts::kTrain);
      EXPECT_EQ(knn.prepare(data.cases()), "");
      const auto lists = knn.rank(data.cases(), 7);
      const auto expected = dull_item_knn(data, 7);
      EXPECT_GT(expected.places.size(), 20U);
      EXPECT_EQ(lists.places, expected.places) << "seed " << seed;
      EXPECT_EQ(lists.offsets, expected.offsets) << "seed " << seed;
    }
  }
}

std::filesystem::path shared_data() {
  if (const char* folder = std::getenv("RONDO_SHARED_DATA")) return folder;
  const char* source = std::getenv("RONDO_SOURCE_DIR");
  return std::filesystem::path(source != nullptr ? source : ".") / "../shared/data";
}

/// Amazon Beauty as prepared for S3-Rec: a user and its items a line, oldest first; items are numbered from 1.
class S3RecBeautyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto path = shared_data() / "s3rec-beauty/Beauty.txt.gz";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here (RONDO_SHARED_DATA names its folder)";
    gzFile file = gzopen(path.c_str(), "rb");
    std::string text;
    std::vector<char> buffer(1 << 16);
    for (int count = 0; (count = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0;) {
      text.append(buffer.data(), static_cast<size_t>(count));
    }
    gzclose(file);
    std::vector<std::vector<HandMadeEvent>> users;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream numbers(line);
      int32_t number = 0;
      numbers >> number;
      auto& user = users.emplace_back();
      while (numbers >> number) user.push_back({number - 1, static_cast<int64_t>(user.size()), 0, 0});
    }
    events_ = hand_made_log(users);
    for (uint64_t item = 1; item <= 12'101; ++item) catalog_.keys.push_back(item);
    split_ = make_split(events_, catalog_, {});
  }

  EvaluationReport floors(FloorCounts counts) {
    const auto comm = make_single_communicator({});
    const EvaluationData data{catalog_, events_, split_, {}};
    EvaluationOptions options;
    options.floor_counts = counts;
    options.bootstrap.resamples = 0;
    const auto made = make_floors(*comm, data, options);
    std::vector<Ranker*> rankers;
    for (const auto& floor : made) rankers.push_back(floor.get());
    return evaluate(*comm, rankers, data, options);
  }

  static double value(const EvaluationReport& report, size_t ranker, const std::string& name) {
    for (int64_t column = 0; column < report.columns.size(); ++column) {
      if (report.columns.name(column) == name) return report.rankers[ranker].metrics[static_cast<size_t>(column)];
    }
    return -1.0;
  }

  Catalog catalog_;
  EventLog events_;
  Split split_;
};

// recsys_systems 7.3 and the README of the data set; one unit of the last printed digit.
constexpr double kPrinted = 0.5e-4;

// The published ItemKNN gives tied items the middle of their ranks, ours orders them by key: up to 2e-4 apart.
constexpr double kTied = 2.5e-4;

TEST_F(S3RecBeautyTest, FloorsReachThePublishedNumbers) {
  const EvaluationReport report = floors(FloorCounts::kTrain);
  EXPECT_EQ(report.users, 22'363);
  EXPECT_EQ(report.rankers[0].buckets.pairs(0), 138);  // "0 train interactions: 138 users"
  EXPECT_NEAR(value(report, 0, "hr@5"), 0.0075, kPrinted);
  EXPECT_NEAR(value(report, 0, "ndcg@5"), 0.0041, kPrinted);
  EXPECT_NEAR(value(report, 0, "hr@10"), 0.0115, kPrinted);
  EXPECT_NEAR(value(report, 0, "ndcg@10"), 0.0055, kPrinted);
  EXPECT_NEAR(value(report, 1, "hr@5"), 0.0433, kTied);
  EXPECT_NEAR(value(report, 1, "ndcg@5"), 0.0300, kTied);
  EXPECT_NEAR(value(report, 1, "hr@10"), 0.0616, kTied);
  EXPECT_NEAR(value(report, 1, "ndcg@10"), 0.0359, kTied);
}

TEST_F(S3RecBeautyTest, RefittedFloorsReachThePublishedNumbers) {
  const EvaluationReport report = floors(FloorCounts::kTrainAndValid);
  EXPECT_EQ(report.rankers[1].counts, "train+valid");
  EXPECT_NEAR(value(report, 0, "hr@10"), 0.0135, kPrinted);
  EXPECT_NEAR(value(report, 0, "ndcg@10"), 0.0061, kPrinted);
  EXPECT_NEAR(value(report, 1, "hr@10"), 0.0702, kTied);
  EXPECT_NEAR(value(report, 1, "ndcg@10"), 0.0415, kTied);
}

/// Of an item in a list, counted from 1; infinite if it is not there.
double middle_rank(const RankedLists& lists, int64_t i, int32_t item) {
  const auto list = lists.list(i);
  const auto scores = lists.list_scores(i);
  const auto found = std::ranges::find(list, item);
  if (found == list.end()) return std::numeric_limits<double>::infinity();
  const float score = scores[static_cast<size_t>(found - list.begin())];
  const auto tied = std::ranges::equal_range(scores, score, std::greater<>());
  return static_cast<double>(tied.begin() - scores.begin()) + (static_cast<double>(tied.size()) + 1.0) / 2.0;
}

// With K = 10, the middle of tied ranks counts when it is before rank 11, as 10.5 is: at most 21 items are tied then.
TEST_F(S3RecBeautyTest, ItemKnnReachesThePublishedNumbersWithMiddleRanks) {
  const auto comm = make_single_communicator({});
  const EvaluationData data{catalog_, events_, split_, {}};
  ItemKnn knn(*comm, data, FloorCounts::kTrain);
  ASSERT_EQ(knn.prepare(data.cases()), "");
  const std::span<const EvaluationCase> cases = data.cases();
  double hits = 0.0, gain = 0.0;
  for (size_t first = 0; first < cases.size(); first += 2000) {
    const auto some = cases.subspan(first, std::min<size_t>(2000, cases.size() - first));
    const RankedLists lists = knn.rank(some, 64);
    for (int64_t i = 0; i < lists.size(); ++i) {
      const double rank = middle_rank(lists, i, some[static_cast<size_t>(i)].targets.front());
      hits += rank < 11.0 ? 1.0 : 0.0;
      gain += rank < 11.0 ? 1.0 / std::log2(rank + 1.0) : 0.0;
    }
  }
  EXPECT_NEAR(hits / static_cast<double>(cases.size()), 0.0616, kPrinted);
  EXPECT_NEAR(gain / static_cast<double>(cases.size()), 0.0359, kPrinted);
}

RONDO_INSTANTIATE_RANK_TEST(ItemKnnTest);

}  // namespace
}  // namespace rondo
