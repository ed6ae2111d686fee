#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/embedding/partial_bags.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/plan/key_placement.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// The bags of one feature whose keys go, as they are, to who holds the rows: nobody looks for equal keys twice.
struct RawFeature {
  std::span<const int64_t> offsets;  // [bags + 1]
  std::span<const uint64_t> keys;    // [n]
  at::Tensor weights;                // [n] fp32 or fp64, or undefined for ones
  int64_t counted = 0;               // the first `counted` keys enter the popularity count
};

/// 32-bit words that a raw key of this table takes on the way: 1 of small dense tables, else 2.
int words_of_key(const TableSpec& spec);

/// Packs the bags of all features by owner. For each feature: the number of bags, the number of counted keys, the
/// lengths of the bags, then keys and weights, bag by bag; nothing at all for an owner without keys.
/// keys_to[r] <- keys of owner r. REQUIRES: keys that the placement takes.
void pack_raw_bags(std::span<const RawFeature> features, const KeyPlacement& placement, int key_words,
                   std::span<int64_t> keys_to, PackedBags& packed);

/// The same for ranks that hold columns: one group of all keys.
void pack_raw_bags(std::span<const RawFeature> features, int key_words, PackedBags& packed);

/// What arrived from one rank: `keys` and `occurrences` (0 or 1 each) grow by its keys, bags[f] are over these.
/// `weights[f]`: type of the weights of feature f, at::kLong for none.
void unpack_raw_bags(std::span<const int32_t> words, std::span<const at::ScalarType> weights, int key_words,
                     std::vector<uint64_t>& keys, std::vector<int64_t>& occurrences, std::span<BagList> bags);

}  // namespace rondo
