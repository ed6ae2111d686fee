#include "sharding/exchange/distinct_ids.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "sharding/base/hash.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(21, 0, RandomPurpose::kTest);

std::vector<uint64_t> keys_of_call(int call, size_t n) {
  std::vector<uint64_t> keys(n);
  for (size_t i = 0; i < n; ++i)
    keys[i] = kRandom.below(n / 2 + 1, static_cast<uint64_t>(call), i) * (call % 2 == 0 ? 1 : ~uint64_t{0});
  return keys;
}

TEST(DistinctIds, NumbersKeysByFirstOccurrenceCallAfterCall) {
  DistinctIds distinct;
  const std::vector<size_t> sizes{0, 1, 2, 5000, 3, 0, 700, 5001, 64};
  for (size_t call = 0; call < sizes.size(); ++call) {
    const auto keys = keys_of_call(static_cast<int>(call), sizes[call]);
    std::vector<uint64_t> expected;
    std::map<uint64_t, int64_t> place;
    std::vector<int64_t> expected_positions;
    for (const uint64_t key : keys) {
      if (place.try_emplace(key, static_cast<int64_t>(expected.size())).second) expected.push_back(key);
      expected_positions.push_back(place.at(key));
    }
    std::vector<int64_t> positions(keys.size());
    const auto got = distinct.run(keys, positions);
    EXPECT_EQ(std::vector<uint64_t>(got.begin(), got.end()), expected) << "call " << call;
    EXPECT_EQ(positions, expected_positions) << "call " << call;
  }
}

TEST(GroupByOwner, KeepsTheOrderWithinAnOwner) {
  std::vector<uint64_t> keys(1000);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = mix64(i);
  for (const int world : {1, 2, 3, 4, 7}) {
    const KeyPlacement placement({.name = "t", .buckets = 64}, world);
    const KeysByOwner grouped = group_by_owner(keys, placement, world);
    std::vector<uint64_t> expected;
    for (int rank = 0; rank < world; ++rank) {
      const size_t before = expected.size();
      for (const uint64_t key : keys) {
        if (owner_of_bucket(bucket_of(key, 64), 64, world) == rank) expected.push_back(key);
      }
      EXPECT_EQ(grouped.rows[static_cast<size_t>(rank)], static_cast<int64_t>(expected.size() - before));
    }
    EXPECT_EQ(grouped.keys, expected);
    for (size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(grouped.keys[static_cast<size_t>(grouped.place_of[i])], keys[i]);
    }
  }
}

}  // namespace
}  // namespace rondo
