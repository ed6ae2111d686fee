#include "sharding/plan/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TableSpec table(Placement placement, int64_t dim = 12) {
  return {.name = "item", .dim = dim, .buckets = 8, .placement = placement, .owner = 0};
}

TEST(Shards, HoldEveryBucketAndColumnOnce) {
  for (const Placement placement : {Placement::kRowWise, Placement::kTableWise, Placement::kColumnWise}) {
    for (const int world : {1, 2, 3, 4, 6}) {
      const TableSpec spec = table(placement);
      std::vector<int> holders(static_cast<size_t>(spec.buckets * spec.dim));
      for (int rank = 0; rank < world; ++rank) {
        const Shard shard = shard_of_rank(spec, rank, world);
        for (int64_t b = shard.buckets.first; b < shard.buckets.last; ++b) {
          for (int64_t c = shard.columns.first; c < shard.columns.last; ++c) {
            ++holders[static_cast<size_t>(b * spec.dim + c)];
          }
        }
      }
      EXPECT_THAT(holders, ::testing::Each(1)) << to_word(placement) << " over " << world;
    }
  }
}

TEST(Shards, ReplicasHoldAll) {
  for (int rank = 0; rank < 3; ++rank) {
    const Shard shard = shard_of_rank(table(Placement::kReplicated), rank, 3);
    EXPECT_EQ(shard.buckets.last - shard.buckets.first, 8);
    EXPECT_EQ(shard.columns.count(), 12);
  }
}

TEST(Shards, ColumnsGoRoundFromTheOwner) {
  TableSpec spec = table(Placement::kColumnWise);
  spec.owner = 3;
  spec.column_shards = 2;
  EXPECT_THAT(column_owners(spec, 4), ElementsAre(3, 0));
  EXPECT_EQ(shard_of_rank(spec, 0, 4).columns.first, 6);
  EXPECT_TRUE(shard_of_rank(spec, 1, 4).empty());
}

TEST(PlacementValidation, SaysWhatWouldDo) {
  struct Case {
    TableSpec spec;
    int world;
    const char* message;
  };
  std::vector<Case> cases{
      {table(Placement::kTableWise), 2, "table \"item\": owner is rank 2, and the world has 2 ranks: 0 to 1"},
      {table(Placement::kColumnWise, 10), 3,
       "dim 10 cannot be divided into 3 equal ranges of columns; set column_shards to one of 1, 2"},
      {table(Placement::kColumnWise, 2), 4, "column_wise can use at most dim = 2 ranks, got 4"},
      {table(Placement::kColumnWise), 2, "column_shards is 3, and the world has 2 ranks"},
  };
  cases[0].spec.owner = 2;
  cases[3].spec.column_shards = 3;
  for (const Case& c : cases) {
    try {
      validate_placement(c.spec, c.world);
      ADD_FAILURE() << "taken: " << c.message;
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      EXPECT_THAT(error.what(), HasSubstr(c.message));
    }
  }
  EXPECT_NO_THROW(validate_placement(table(Placement::kColumnWise), 3));
}

TEST(Owners, LargestTablesFirstToTheEmptiestRank) {
  std::vector<TableSpec> specs;
  for (const int64_t rows : {10, 100, 40, 70, 30}) {
    specs.push_back({.name = concat("t", rows), .dim = 2, .rows = rows, .placement = Placement::kTableWise});
  }
  specs.push_back({.name = "rows", .dim = 2, .rows = 1000});
  assign_owners(specs, 2);
  std::vector<int> owners;
  for (const TableSpec& spec : specs) owners.push_back(spec.owner);
  // 100 | 70, then 40 to rank 1 (110), 30 to rank 0 (130), 10 to rank 1 (120).
  EXPECT_THAT(owners, ElementsAre(1, 0, 1, 1, 0, kAnyRank));
}

TEST(Owners, GivenOnesStayAndCount) {
  std::vector<TableSpec> specs;
  for (int i = 0; i < 4; ++i) {
    specs.push_back({.name = concat("t", i), .dim = 8, .placement = Placement::kTableWise});
  }
  specs[3].owner = 0;
  specs.push_back({.name = "wide", .dim = 8, .placement = Placement::kColumnWise, .column_shards = 2});
  assign_owners(specs, 3);
  EXPECT_EQ(specs[3].owner, 0);
  EXPECT_EQ(specs[0].owner, 1);
  EXPECT_EQ(specs[1].owner, 2);
  EXPECT_GE(specs[4].owner, 0);
}

}  // namespace
}  // namespace rondo
