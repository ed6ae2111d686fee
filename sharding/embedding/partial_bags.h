#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/embedding/routed_ids.h"

namespace rondo {

/// The bags of one feature as the asker sees them, by places among the keys of a part.
struct BagEntries {
  std::span<const int64_t> offsets;  // [bags + 1]
  std::span<const int64_t> places;   // [n]; -1: the row is not of this part
  at::Tensor weights;                // [n] fp32 or fp64, or undefined for ones
};

/// What who holds the rows must know to sum its part of the bags of several features, as words of 32 bits.
struct PackedBags {
  std::vector<int32_t> words;        // group by group
  std::vector<int64_t> group_words;  // [groups]; 0: none of its rows is in any bag
};

/// Packs the entries by groups of keys: group g holds the next group_rows[g] keys, places count from its first. For
/// each feature: the number of bags, their lengths, then places and weights of the entries, bag by bag.
void pack_bags(std::span<const BagEntries> features, std::span<const int64_t> group_rows, PackedBags& packed);

/// The bags of one group. `weights[f]`: type of the weights of feature f, at::kLong for none.
void unpack_bags(std::span<const int32_t> words, std::span<const at::ScalarType> weights, std::span<BagList> bags);

/// The entries whose place is >= 0, as bags over the matrix that the places count in.
BagList bags_of(const BagEntries& entries);

}  // namespace rondo
