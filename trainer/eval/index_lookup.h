#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/eval/item_index.h"

namespace rondo {

/// Questions to a sharded item index. All are collective: every rank asks, the same or something else, and every rank
/// has its answer.

/// Places of items by the key of the source, -1 if the index has none of it. The same question on every rank.
std::vector<int32_t> find_items(Communicator& comm, const ItemIndex& index, std::span<const std::string> raw_keys);

struct ItemTexts {
  std::string raw_key;
  std::string title;
};

/// Of each of `places`, in their order. The same question on every rank.
std::vector<ItemTexts> item_texts(Communicator& comm, const ItemIndex& index, std::span<const int32_t> places);

/// ItemIndex::histories of `places`, float32 [n, dim], in their order. Each rank asks for its own.
at::Tensor history_vectors(Communicator& comm, const ItemIndex& index, std::span<const int32_t> places);

}  // namespace rondo
