#include "sharding/plan/dense_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sharding/plan/key_placement.h"

namespace rondo {
namespace {

TEST(DenseLayout, IsABijectionThatKeyUndoes) {
  for (const int64_t rows : {1, 2, 3, 4, 5, 63, 64, 65, 1000, 65537}) {
    const DenseLayout layout(rows, 64);
    std::vector<bool> taken(static_cast<size_t>(rows));
    for (int64_t key = 0; key < rows; ++key) {
      const int64_t place = layout.place(static_cast<uint64_t>(key));
      ASSERT_TRUE(place >= 0 && place < rows) << rows;
      ASSERT_FALSE(taken[static_cast<size_t>(place)]) << rows;
      taken[static_cast<size_t>(place)] = true;
      ASSERT_EQ(layout.key(place), static_cast<uint64_t>(key)) << rows;
    }
  }
}

TEST(DenseLayout, UndoesItselfAtTheLargestSize) {
  const int64_t rows = (int64_t{1} << 40) - 3;
  const DenseLayout layout(rows, 1 << 22);
  for (uint64_t key : {uint64_t{0}, uint64_t{1}, uint64_t{123456789012}, static_cast<uint64_t>(rows - 1)}) {
    EXPECT_EQ(layout.key(layout.place(key)), key);
    EXPECT_LT(layout.bucket(layout.place(key)), 1 << 22);
  }
}

TEST(DenseLayout, BucketsAreRunsOfPlacesOfNearlyEqualSize) {
  for (const int64_t rows : {1, 3, 64, 100, 4097}) {
    for (const int64_t buckets : {1, 2, 64, 256}) {
      const DenseLayout layout(rows, buckets);
      EXPECT_EQ(layout.first_place(0), 0);
      EXPECT_EQ(layout.first_place(buckets), rows);
      for (int64_t bucket = 0; bucket < buckets; ++bucket) {
        const int64_t first = layout.first_place(bucket), last = layout.first_place(bucket + 1);
        EXPECT_LE(last - first, rows / buckets + 1);
        for (int64_t place = first; place < last; ++place) ASSERT_EQ(layout.bucket(place), bucket);
      }
    }
  }
}

TEST(DenseLayout, SpreadsNeighboursAndSmallTables) {
  const KeyPlacement placement({.name = "t", .key_space = KeySpace::kDense, .rows = 8}, 4);
  std::vector<int> rows(4), early(4);
  for (uint64_t key = 0; key < 8; ++key) ++rows[static_cast<size_t>(placement.owner(key))];
  EXPECT_EQ(rows, (std::vector<int>{2, 2, 2, 2}));
  const KeyPlacement large({.name = "t", .key_space = KeySpace::kDense, .rows = 1'000'003}, 4);
  for (uint64_t key = 0; key < 1000; ++key) ++early[static_cast<size_t>(large.owner(key))];
  EXPECT_GE(*std::min_element(early.begin(), early.end()), 150);
}

}  // namespace
}  // namespace rondo
