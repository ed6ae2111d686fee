#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace rondo {

/// The items that one rank holds of a sharded item index. No item is held twice, on whatever ranks.
struct ItemShard {
  at::Tensor vectors;           // float32 [n, dim], host; same dim on every rank, also where n is 0
  std::vector<int32_t> places;  // [n], ascending
  std::vector<uint64_t> keys;   // [n], row keys: equal scores are ordered by them

  int64_t size() const { return static_cast<int64_t>(places.size()); }
};

/// The part of a shard that may be recommended. `candidates`: ascending places; empty: all.
ItemShard restrict_to(ItemShard shard, std::span<const int32_t> candidates);

/// Users that are scored together, with what each may not be recommended.
struct UserChunk {
  at::Tensor vectors;                   // float32 [m, dim], contiguous
  std::vector<int64_t> masked_offsets;  // [m + 1]
  std::vector<int32_t> masked;          // places, in any order within a user
};

/// An item found for a user.
struct ScoredItem {
  uint64_t key = 0;
  int32_t place = -1;  // -1: there is none
  float score = 0.0F;

  bool is_before(const ScoredItem& other) const {
    return score > other.score || (score == other.score && key < other.key);
  }
};

/// The first min(all.size(), best.size()) of `all` in the order of `is_before` into `best`.
void take_best(std::span<const ScoredItem> all, std::span<ScoredItem> best);

/// Exact search within one shard; knows no ranks.
///
/// A score is the product summed in fp64 over ascending dimensions and rounded to fp32, whatever the shape of the
/// shard. Blocked fp32 products, whose last bits do depend on shapes, only choose whom to score so: all items within
/// twice their error bound of the K-th.
class ShardSearch {
 public:
  /// Keeps a reference. `score_bytes`: largest block of scores held at once. Throws ConfigError if a vector is not
  /// finite: training has diverged.
  ShardSearch(const ItemShard& shard, int64_t score_bytes);

  /// [m, k], best first; users with fewer items end with places of -1. Throws ConfigError as above.
  std::vector<ScoredItem> best(const UserChunk& chunk, int64_t k) const;

 private:
  class Finalists;

  /// Rows of the shard that are masked, ascending, for each user.
  std::vector<std::vector<int32_t>> masked_rows(const UserChunk& chunk) const;

  std::vector<Finalists> find_finalists(const UserChunk& chunk, int64_t k) const;

  const ItemShard& shard_;
  int64_t score_bytes_;
  double largest_norm_ = 0.0;
};

/// Throws ConfigError unless every row of `vectors` float32 [n, dim] is finite; returns the largest Euclidean length.
double largest_finite_norm(const at::Tensor& vectors, const char* of);

}  // namespace rondo
