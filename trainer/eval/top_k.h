#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/eval/ranker.h"
#include "trainer/eval/shard_search.h"

namespace rondo {

struct TopKOptions {
  int64_t users_per_chunk = 1024;           ///< users of all ranks that are scored together; at least one a rank
  int64_t score_bytes = int64_t{64} << 20;  ///< largest block of scores held at once, [users of a chunk, items]
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const TopKOptions& options);

/// Exact search for the K best items of a sharded index by the dot product.
///
/// The result is a function of the vectors alone, the same for every world, chunk and number of threads: scores are
/// those of ShardSearch, equal scores are ordered by row key, ascending.
class ShardedTopK {
 public:
  /// Keeps references to `comm` and `shard`. Throws ConfigError if a vector is not finite: training has diverged.
  ShardedTopK(Communicator& comm, const ItemShard& shard, const TopKOptions& options = {});

  /// The K best items of each of this rank's users (there may be none). `users` float32 [u, dim], `masked` [u]: places
  /// that are not for this user. Lists are shorter than K where fewer items are left. Collective.
  RankedLists search(const at::Tensor& users, std::span<const std::span<const int32_t>> masked, int64_t k);

 private:
  /// Users [first, first + rows[rank]) of every rank.
  UserChunk gather_chunk(const at::Tensor& users, std::span<const std::span<const int32_t>> masked, int64_t first,
                         const std::vector<int64_t>& rows);

  /// Sends the best of this shard to the ranks that asked; returns the best of all shards for this rank's users,
  /// [users, k].
  std::vector<ScoredItem> exchange(const std::vector<ScoredItem>& best, const std::vector<int64_t>& rows, int64_t k);

  Communicator& comm_;
  TopKOptions options_;
  int64_t dim_;
  ShardSearch search_;
};

}  // namespace rondo
