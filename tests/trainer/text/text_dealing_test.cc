#include "trainer/text/text_dealing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "sharding/base/random.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PackedTexts texts_of_lengths(const std::vector<size_t>& lengths) {
  PackedTexts texts;
  for (size_t i = 0; i < lengths.size(); ++i)
    append_text(std::vector<int32_t>(lengths[i], static_cast<int32_t>(i)), texts);
  return texts;
}

TEST(TextDealing, GivesTheLongestFirstToWhoHasLeast) {
  const TextDeal deal = deal_texts(texts_of_lengths({3, 9, 4, 7}), 2);
  EXPECT_THAT(deal.texts, ElementsAre(ElementsAre(1, 0), ElementsAre(3, 2)));
  EXPECT_THAT(deal.rows, ElementsAre(2, 2));
  EXPECT_THAT(deal.tokens, ElementsAre(12, 11));
  EXPECT_THAT(deal.row_of, ElementsAre(1, 0, 3, 2));
  EXPECT_NEAR(deal.imbalance(), 12 / 11.5 - 1, 1e-12);
}

TEST(TextDealing, CoversEveryTextOnceAndIsBalanced) {
  const CounterRandom random(5, 0, RandomPurpose::kTest);
  for (const int world : {1, 2, 3, 4, 7}) {
    double imbalance = 0;
    constexpr int kBatches = 50;
    for (uint64_t batch = 0; batch < kBatches; ++batch) {
      std::vector<size_t> lengths;  // 3 to about 128, the shorter the more
      for (uint64_t i = 0; i < 32; ++i) {
        lengths.push_back(3 + static_cast<size_t>(125 * std::pow(random.uniform(batch, i), 3)));
      }
      const PackedTexts texts = texts_of_lengths(lengths);
      const TextDeal deal = deal_texts(texts, world);
      std::set<int64_t> seen, rows(deal.row_of.begin(), deal.row_of.end());
      int64_t row = 0;
      for (size_t rank = 0; rank < deal.texts.size(); ++rank) {
        int64_t tokens = 0;
        for (const int64_t place : deal.texts[rank]) {
          seen.insert(place);
          tokens += static_cast<int64_t>(lengths[static_cast<size_t>(place)]);
          EXPECT_EQ(deal.row_of[static_cast<size_t>(place)], row++);
        }
        EXPECT_EQ(tokens, deal.tokens[rank]);
      }
      EXPECT_EQ(seen.size(), 32U);
      EXPECT_EQ(rows.size(), 32U);
      imbalance += deal.imbalance() / kBatches;
    }
    if (world <= 3) {
      EXPECT_LT(imbalance, 0.05) << world << " ranks";
    }
  }
}

TEST(TextDealing, MoreRanksThanTexts) {
  const TextDeal deal = deal_texts(texts_of_lengths({4}), 3);
  EXPECT_THAT(deal.rows, ElementsAre(1, 0, 0));
  EXPECT_NEAR(deal.imbalance(), 2.0, 1e-12);
  const TextDeal nothing = deal_texts({}, 2);
  EXPECT_THAT(nothing.row_of, IsEmpty());
  EXPECT_EQ(nothing.imbalance(), 0.0);
}

TEST(TextDealing, SelectsTextsWithTheirDigests) {
  const PackedTexts texts = texts_of_lengths({2, 1, 3});
  const PackedTexts some = select_texts(texts, {2, 0});
  EXPECT_THAT(some.tokens, ElementsAre(2, 2, 2, 0, 0));
  EXPECT_THAT(some.offsets, ElementsAre(0, 3, 5));
  EXPECT_THAT(some.digests, ElementsAre(texts.digests[2], texts.digests[0]));
}

}  // namespace
}  // namespace rondo
