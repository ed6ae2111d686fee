#include "trainer/text/packed_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "sharding/base/random.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::span<const int32_t>> spans(const std::vector<std::vector<int32_t>>& texts) {
  return {texts.begin(), texts.end()};
}

TEST(PackTextsTest, PutsTextsOneAfterTheOther) {
  const std::vector<std::vector<int32_t>> texts{{2, 7, 3}, {}, {2, 3}};

  const PackedTexts packed = pack_texts(spans(texts));

  EXPECT_THAT(packed.tokens, ElementsAre(2, 7, 3, 2, 3));
  EXPECT_THAT(packed.offsets, ElementsAre(0, 3, 3, 5));
  ASSERT_EQ(packed.size(), 3);
  EXPECT_EQ(packed.digests[0], text_digest(texts[0]));
  EXPECT_NE(packed.digests[0], packed.digests[2]);
}

TEST(PackTextsTest, NoTextsAreAnEmptyBatch) {
  const PackedTexts packed = pack_texts({});
  EXPECT_EQ(packed.size(), 0);
  EXPECT_THAT(packed.offsets, ElementsAre(0));
  EXPECT_THAT(distinct_texts({}).places, IsEmpty());
}

TEST(PackTextsTest, DigestsKeepTheirValues) {
  // They are keys of dropout: a seed must mean the same in every release. XXH3 of the little-endian bytes, computed
  // apart.
  EXPECT_EQ(text_digest({}), 0x2d06800538d394c2ULL);
}

TEST(DistinctTextsTest, KeepsFirstOccurrencesAndTheWayBack) {
  // 300 texts of 0 to 4 tokens out of 3: many repeats, prefixes of each other, empty ones.
  const CounterRandom random(5, 0, RandomPurpose::kTest);
  std::vector<std::vector<int32_t>> texts(300);
  for (size_t i = 0; i < texts.size(); ++i) {
    texts[i].resize(random.below(5, i, 0));
    for (size_t j = 0; j < texts[i].size(); ++j) texts[i][j] = static_cast<int32_t>(random.below(3, i, j + 1));
  }

  const DistinctTexts distinct = distinct_texts(spans(texts));

  std::map<std::vector<int32_t>, int64_t> expected;
  ASSERT_EQ(distinct.places.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const int64_t place = expected.try_emplace(texts[i], static_cast<int64_t>(expected.size())).first->second;
    EXPECT_EQ(distinct.places[i], place) << "text " << i;
    const auto kept = distinct.texts.text(distinct.places[i]);
    EXPECT_EQ(std::vector<int32_t>(kept.begin(), kept.end()), texts[i]);
  }
  EXPECT_EQ(distinct.texts.size(), static_cast<int64_t>(expected.size()));
}

}  // namespace
}  // namespace rondo
