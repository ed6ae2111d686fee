#pragma once

#include <cstdint>
#include <vector>

#include "sharding/embedding/row_store.h"
#include "trainer/model/item_features.h"
#include "trainer/nn/parameter.h"
#include "trainer/text/text_tower.h"

namespace rondo {

/// The texts of a catalogue as rows of a table: what an encoder that does not change says of each, kept under the
/// text's own digest. Items of one text share a row, and a text that changes is another row, so that none is ever old.
class FrozenTexts {
 public:
  /// Keeps a reference.
  explicit FrozenTexts(const ItemFeatures& features);

  /// Row key of an item's text; 0 without text.
  uint64_t key(int32_t place) const { return keys_[static_cast<size_t>(place)]; }

  /// Encodes the texts whose bucket `store` holds and that have no row there; each text of the catalogue falls to one
  /// rank. Rows are the tower's pooled vectors. Returns how many texts it encoded.
  int64_t encode_missing(const TextTower& tower, RowStore& store, const StepContext& context) const;

 private:
  /// Places, the first of each text that is missing.
  std::vector<int32_t> missing(const RowStore& store) const;

  const ItemFeatures& features_;
  std::vector<uint64_t> keys_;  // [items]
};

}  // namespace rondo
