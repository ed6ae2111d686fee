#pragma once

#include <cstdint>
#include <vector>

#include "trainer/text/packed_texts.h"

namespace rondo {

/// Which rank encodes which of a batch's texts.
struct TextDeal {
  std::vector<std::vector<int64_t>> texts;  // [world]: places, longest first
  std::vector<int64_t> rows;                // [world]: how many those are
  std::vector<int64_t> tokens;              // [world]
  std::vector<int64_t> row_of;              // [texts]: where a text's vector stands when those of all ranks are joined

  /// How much more than the mean the rank with most tokens has: 0 when all have the same.
  double imbalance() const;
};

/// Deals texts so that ranks get about as many tokens: the longest first, each to the rank that has least (Graham 1969:
/// at most a third above the best, and far less with many texts). A pure function of the lengths, so that every rank
/// deals alike without a word.
TextDeal deal_texts(const PackedTexts& texts, int world);

/// The texts of some places, in their order.
PackedTexts select_texts(const PackedTexts& texts, const std::vector<int64_t>& places);

}  // namespace rondo
