#include "trainer/eval/top_k.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::RankTest;

/// A catalogue and users, the same on every rank.
struct Shop {
  int64_t items = 0;
  int64_t users = 0;
  int64_t dim = 0;
  std::vector<float> item_vectors;  // [items, dim]
  std::vector<float> user_vectors;  // [users, dim]
  std::vector<uint64_t> keys;       // [items], in no order
  std::vector<std::vector<int32_t>> masked;
};

enum class Values { kContinuous, kManyTies };

Shop make_shop(int64_t items, int64_t users, int64_t dim, Values values) {
  const CounterRandom random(5, 0, RandomPurpose::kTest);
  const auto draw = [&](uint64_t key, int64_t element) {
    // Of many ties: whole numbers from -1 to 1, exact in any order of summation.
    return values == Values::kManyTies ? static_cast<float>(random.below(3, key, static_cast<uint64_t>(element))) - 1.0F
                                       : static_cast<float>(random.normal(key, static_cast<uint64_t>(element)));
  };
  Shop shop{
      .items = items, .users = users, .dim = dim, .item_vectors = {}, .user_vectors = {}, .keys = {}, .masked = {}};
  for (int64_t i = 0; i < items * dim; ++i) shop.item_vectors.push_back(draw(1, i));
  for (int64_t i = 0; i < users * dim; ++i) shop.user_vectors.push_back(draw(2, i));
  for (int64_t i = 0; i < items; ++i) shop.keys.push_back(mix64(static_cast<uint64_t>(i) + 77));
  for (int64_t user = 0; user < users; ++user) {
    std::vector<int32_t> masked;
    for (int64_t place = 0; place < items; ++place) {
      if (random.uniform(1000 + static_cast<uint64_t>(user), static_cast<uint64_t>(place)) < 0.1) {
        masked.push_back(static_cast<int32_t>(place));
      }
    }
    shop.masked.push_back(masked);
  }
  return shop;
}

/// The dull way: all scores of a user, sorted.
std::vector<int32_t> full_sort(const Shop& shop, int64_t user, int64_t k, const std::vector<int32_t>& candidates = {}) {
  struct Scored {
    float score;
    uint64_t key;
    int32_t place;
  };
  std::vector<Scored> all;
  const auto& masked = shop.masked[static_cast<size_t>(user)];
  for (int32_t place = 0; place < shop.items; ++place) {
    if (std::find(masked.begin(), masked.end(), place) != masked.end()) continue;
    if (!candidates.empty() && std::find(candidates.begin(), candidates.end(), place) == candidates.end()) continue;
    double sum = 0.0;
    for (int64_t i = 0; i < shop.dim; ++i) {
      sum += static_cast<double>(shop.user_vectors[static_cast<size_t>(user * shop.dim + i)]) *
             static_cast<double>(shop.item_vectors[static_cast<size_t>(place * shop.dim + i)]);
    }
    all.push_back({static_cast<float>(sum), shop.keys[static_cast<size_t>(place)], place});
  }
  std::sort(all.begin(), all.end(),
            [](const Scored& a, const Scored& b) { return a.score != b.score ? a.score > b.score : a.key < b.key; });
  std::vector<int32_t> places;
  for (size_t i = 0; i < std::min(all.size(), static_cast<size_t>(k)); ++i) places.push_back(all[i].place);
  return places;
}

at::Tensor rows_of(const std::vector<float>& all, const std::vector<int64_t>& rows, int64_t dim) {
  at::Tensor out = at::empty({static_cast<int64_t>(rows.size()), dim}, at::kFloat);
  float* to = out.mutable_data_ptr<float>();
  for (const int64_t row : rows) to = std::copy_n(all.begin() + row * dim, dim, to);
  return out;
}

/// Items by a hash of their key, as buckets are; with `skip` this rank's share is empty.
ItemShard shard_of(const Shop& shop, int rank, int world, int skip = -1) {
  ItemShard shard;
  std::vector<int64_t> rows;
  for (int64_t place = 0; place < shop.items; ++place) {
    int owner = static_cast<int>(mix64(shop.keys[static_cast<size_t>(place)]) % static_cast<uint64_t>(world));
    if (owner == skip) owner = (owner + 1) % world;
    if (owner != rank) continue;
    rows.push_back(place);
    shard.places.push_back(static_cast<int32_t>(place));
    shard.keys.push_back(shop.keys[static_cast<size_t>(place)]);
  }
  shard.vectors = rows_of(shop.item_vectors, rows, shop.dim);
  return shard;
}

/// Users of a rank: more on later ranks, none on rank 0 of many.
std::vector<int64_t> users_of(const Shop& shop, int rank, int world) {
  const auto begin = [&](int r) { return shop.users * r * r / (world * world); };
  std::vector<int64_t> users;
  const int64_t first = world > 1 && rank == 0 ? begin(1) : rank == 1 ? 0 : begin(rank);
  for (int64_t user = first; user < begin(rank + 1); ++user) users.push_back(user);
  return users;
}

class TopKTest : public RankTest {
 protected:
  void check(Communicator& comm, const Shop& shop, int64_t k, const TopKOptions& options,
             const std::vector<int32_t>& candidates = {}, int skip = -1) {
    const ItemShard shard = restrict_to(shard_of(shop, comm.rank(), comm.size(), skip), candidates);
    const auto users = users_of(shop, comm.rank(), comm.size());
    std::vector<std::span<const int32_t>> masked;
    for (const int64_t user : users) masked.emplace_back(shop.masked[static_cast<size_t>(user)]);
    ShardedTopK top(comm, shard, options);
    const RankedLists lists = top.search(rows_of(shop.user_vectors, users, shop.dim), masked, k);
    EXPECT_EQ(lists.size(), static_cast<int64_t>(users.size()));
    EXPECT_EQ(lists.scores.size(), lists.places.size());
    for (int64_t i = 0; i < lists.size(); ++i) {
      const auto list = lists.list(i);
      const auto expected = full_sort(shop, users[static_cast<size_t>(i)], k, candidates);
      EXPECT_EQ(std::vector<int32_t>(list.begin(), list.end()), expected) << "user " << users[static_cast<size_t>(i)];
      EXPECT_TRUE(std::ranges::is_sorted(lists.list_scores(i), std::greater<>())) << "user " << i;
    }
  }
};

TEST_P(TopKTest, AgreesWithAFullSort) {
  const Shop shop = make_shop(1013, 61, 24, Values::kContinuous);
  on_each_rank([&](Communicator& comm) { check(comm, shop, 20, {}); });
}

TEST_P(TopKTest, OrdersTiesByKeyWhateverTheBlocks) {
  const Shop shop = make_shop(700, 45, 6, Values::kManyTies);
  on_each_rank([&](Communicator& comm) {
    check(comm, shop, 17, {});
    check(comm, shop, 17, {.users_per_chunk = 5, .score_bytes = 4096});
    check(comm, shop, 1, {.users_per_chunk = 1, .score_bytes = 4096});
  });
}

TEST_P(TopKTest, SearchesOnlyCandidates) {
  const Shop shop = make_shop(300, 20, 8, Values::kManyTies);
  std::vector<int32_t> candidates;
  for (int32_t place = 0; place < 300; place += 7) candidates.push_back(place);
  on_each_rank([&](Communicator& comm) { check(comm, shop, 10, {}, candidates); });
}

TEST_P(TopKTest, ListsEndWhereItemsDo) {
  const Shop shop = make_shop(5, 9, 3, Values::kContinuous);
  on_each_rank([&](Communicator& comm) { check(comm, shop, 8, {}); });
}

TEST_P(TopKTest, OneRankHoldsNoItems) {
  const Shop shop = make_shop(64, 13, 4, Values::kContinuous);
  on_each_rank([&](Communicator& comm) { check(comm, shop, 6, {}, {}, comm.size() > 1 ? comm.size() - 1 : -1); });
}

TEST_P(TopKTest, NearTiesBelowThePrecisionOfTheBlockedProductAreOrderedExactly) {
  // Scores that differ in the last places of fp32 only, from sums whose rounding depends on the order.
  Shop shop = make_shop(500, 16, 96, Values::kContinuous);
  const CounterRandom random(6, 0, RandomPurpose::kTest);
  for (int64_t place = 1; place < shop.items; ++place) {
    for (int64_t i = 0; i < shop.dim; ++i) {
      const auto at = static_cast<size_t>(place * shop.dim + i);
      const auto noise = static_cast<float>(random.uniform(at, 0)) - 0.5F;
      shop.item_vectors[at] = shop.item_vectors[static_cast<size_t>(i)] * (1.0F + 4e-7F * noise);
    }
  }
  on_each_rank([&](Communicator& comm) { check(comm, shop, 20, {.users_per_chunk = 8, .score_bytes = 4096}); });
}

TEST_P(TopKTest, AllScoresEqual) {
  Shop shop = make_shop(400, 6, 5, Values::kContinuous);
  std::ranges::fill(shop.user_vectors, 0.0F);
  on_each_rank([&](Communicator& comm) { check(comm, shop, 12, {}); });
}

TEST_P(TopKTest, NothingToDo) {
  const Shop shop = make_shop(20, 0, 4, Values::kContinuous);
  const Shop nothing = make_shop(0, 3, 4, Values::kContinuous);
  on_each_rank([&](Communicator& comm) {
    check(comm, shop, 5, {});
    check(comm, nothing, 5, {});
  });
}

TEST(ShardedTopKTest, RefusesVectorsThatAreNotFinite) {
  Shop shop = make_shop(10, 2, 4, Values::kContinuous);
  shop.item_vectors[13] = std::numeric_limits<float>::quiet_NaN();
  const auto comm = make_single_communicator({});
  const ItemShard shard = shard_of(shop, 0, 1);
  try {
    ShardedTopK top(*comm, shard);
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("item row 3 is not finite: training has diverged"));
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
  }
}

TEST(ShardedTopKTest, RefusesOptionsOutOfRange) {
  EXPECT_THROW(validate(TopKOptions{.users_per_chunk = 0}), ConfigError);
  EXPECT_THROW(validate(TopKOptions{.score_bytes = 4095}), ConfigError);
  EXPECT_NO_THROW(validate(TopKOptions{}));
}

RONDO_INSTANTIATE_RANK_TEST(TopKTest);

}  // namespace
}  // namespace rondo
