#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/data/catalog.h"
#include "trainer/eval/shard_search.h"
#include "trainer/storage/file_system.h"

namespace rondo {

/// Digests of what item vectors were made from.
struct IndexStamp {
  std::string tower;      // weights and configuration
  std::string tokenizer;  // vocabulary; empty without text
  std::string catalogue;  // Catalog::digest
};

/// What a model makes of some items.
struct ItemVectors {
  at::Tensor items;      // float32 [n, dim]: what a user vector is compared with
  at::Tensor histories;  // float32 [n, dim]: what the item adds to a user vector whose history has it, at weight 1
};

/// The vectors of all items of one evaluation, sharded: rank r holds the places [items r / world, items (r + 1) /
/// world). It answers without the model and without the dataset.
struct ItemIndex {
  IndexStamp stamp;
  int64_t items = 0;     // over all ranks
  ItemShard shard;       // this rank's
  at::Tensor histories;  // float32 [shard.size(), dim], as ItemVectors::histories
  TextColumn raw_keys;   // [shard.size()], as in the source
  TextColumn titles;     // [shard.size()]
};

/// Vectors of places, ascending; also [0, dim] for none. May be collective.
using EncodeItems = std::function<ItemVectors(std::span<const int32_t> places)>;

/// Encodes the catalogue in chunks of at most `chunk` items. Every rank calls `encode` equally often, at the end
/// perhaps with no places. Collective.
ItemIndex build_item_index(Communicator& comm, const Catalog& catalog, IndexStamp stamp, const EncodeItems& encode,
                           int64_t chunk = 4096);

/// Writes the index to `folder` (DESIGN 6), where it takes the place of an earlier one at once: one HDF5 file a rank
/// (keys, vectors, histories, raw keys, titles), named by its digest, then index.json, which names them. A crash leaves
/// the earlier index, and perhaps files that the next write removes. Collective; throws on all ranks if one fails.
void write_item_index(Communicator& comm, FileSystem& files, const std::filesystem::path& folder,
                      const ItemIndex& index);

/// Reads an index that any number of ranks wrote. Throws ConfigError if it was made from anything else than `expected`
/// (an empty digest there is not compared), DataError (kMissingInput) if there is none, StorageError if it is damaged:
/// digests are verified before a file is parsed. Collective; throws on all ranks if one fails.
ItemIndex read_item_index(Communicator& comm, const std::filesystem::path& folder, const IndexStamp& expected);

}  // namespace rondo
