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

TEST(CutTextsTest, GivesEvenPiecesInOrder) {
  const CounterRandom random(6, 0, RandomPurpose::kTest);
  std::vector<std::vector<int32_t>> texts(200);
  for (size_t i = 0; i < texts.size(); ++i) {
    texts[i].resize(1 + random.below(40, i, 0));
    for (size_t j = 0; j < texts[i].size(); ++j) texts[i][j] = static_cast<int32_t>(random.below(1000, i, j + 1));
  }
  const PackedTexts whole = pack_texts(spans(texts));
  const auto total = static_cast<int64_t>(whole.tokens.size());
  for (const int64_t most : {1, 40, 100, 512, 100'000}) {
    SCOPED_TRACE(most);
    const std::vector<PackedTexts> pieces = cut_texts(whole, most);
    PackedTexts joined;
    for (const PackedTexts& piece : pieces) {
      EXPECT_GT(piece.size(), 0);
      EXPECT_LE(piece.tokens.size(), static_cast<size_t>(most + 40)) << "half a text at each end";
      for (int64_t i = 0; i < piece.size(); ++i) append_text(piece.text(i), joined);
    }
    EXPECT_EQ(joined.tokens, whole.tokens);
    EXPECT_EQ(joined.offsets, whole.offsets);
    EXPECT_EQ(joined.digests, whole.digests);
    if (most >= 40) {
      EXPECT_EQ(static_cast<int64_t>(pieces.size()), (total + 2 * most - 1) / (2 * most) * 2);
    }
  }
}

TEST(CutTextsTest, LeavesOneTextWhole) {
  const std::vector<std::vector<int32_t>> one{std::vector<int32_t>(512, 7)}, empty(3);
  ASSERT_EQ(cut_texts(pack_texts(spans(one)), 64).size(), 1U);
  EXPECT_EQ(cut_texts(pack_texts(spans(one)), 64)[0].tokens, one[0]);
  EXPECT_THAT(cut_texts(PackedTexts{}, 64), IsEmpty());
  const std::vector<PackedTexts> pieces = cut_texts(pack_texts(spans(empty)), 64);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0].size(), 3) << "texts without tokens are not lost";
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
