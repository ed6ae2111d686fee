#include "trainer/eval/top_k.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/eval/gather.h"

namespace rondo {

void validate(const TopKOptions& options) {
  if (options.users_per_chunk < 1) {
    throw ConfigError(concat("users_per_chunk must be at least 1, got ", options.users_per_chunk));
  }
  if (options.score_bytes < 4096) {
    throw ConfigError(concat("score_bytes must be at least 4096, got ", options.score_bytes));
  }
}

ShardedTopK::ShardedTopK(Communicator& comm, const ItemShard& shard, const TopKOptions& options)
    : comm_(comm), options_(options), dim_(shard.vectors.size(1)), search_(shard, options.score_bytes) {
  validate(options);
}

RankedLists ShardedTopK::search(const at::Tensor& users, std::span<const std::span<const int32_t>> masked, int64_t k) {
  RONDO_CHECK_GE(k, 1);
  RONDO_CHECK_EQ(users.size(0), static_cast<int64_t>(masked.size()));
  RONDO_CHECK_EQ(users.size(1), dim_, "width of users and items");
  const at::Tensor mine = users.detach().contiguous();
  largest_finite_norm(mine, "user");
  const auto totals = gather_sizes(comm_, mine.size(0), "users to rank");
  const int64_t per_rank = std::max<int64_t>(options_.users_per_chunk / comm_.size(), 1);
  std::vector<int64_t> rows(totals.size());
  RankedLists lists;
  for (int64_t first = 0; first < std::ranges::max(totals); first += per_rank) {
    std::ranges::transform(totals, rows.begin(),
                           [&](int64_t total) { return std::clamp<int64_t>(total - first, 0, per_rank); });
    const auto merged = exchange(search_.best(gather_chunk(mine, masked, first, rows), k), rows, k);
    for (size_t at = 0; at < merged.size(); ++at) {
      if (merged[at].place >= 0) {
        lists.places.push_back(merged[at].place);
        lists.scores.push_back(merged[at].score);
      }
      if ((at + 1) % static_cast<size_t>(k) == 0) lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
    }
  }
  return lists;
}

UserChunk ShardedTopK::gather_chunk(const at::Tensor& users, std::span<const std::span<const int32_t>> masked,
                                    int64_t first, const std::vector<int64_t>& rows) {
  const int64_t count = rows[static_cast<size_t>(comm_.rank())];
  const int64_t begin = std::min(first, users.size(0));
  std::vector<int64_t> sizes;
  std::vector<int32_t> places;
  for (const auto& list : masked.subspan(static_cast<size_t>(begin), static_cast<size_t>(count))) {
    sizes.push_back(static_cast<int64_t>(list.size()));
    places.insert(places.end(), list.begin(), list.end());
  }
  UserChunk chunk;
  chunk.vectors = gather_rows(comm_, users.narrow(0, begin, count), rows, "user vectors");
  chunk.masked_offsets.push_back(0);
  for (const int64_t size : gather_values(comm_, std::span<const int64_t>(sizes), "numbers of masked items")) {
    chunk.masked_offsets.push_back(chunk.masked_offsets.back() + size);
  }
  chunk.masked = gather_values(comm_, std::span<const int32_t>(places), "masked items");
  return chunk;
}

std::vector<ScoredItem> ShardedTopK::exchange(const std::vector<ScoredItem>& best, const std::vector<int64_t>& rows,
                                              int64_t k) {
  static_assert(sizeof(ScoredItem) == 2 * sizeof(int64_t) && std::is_trivially_copyable_v<ScoredItem>);
  const int64_t mine = rows[static_cast<size_t>(comm_.rank())] * k;  // items that each rank sends me
  const std::vector<int64_t> receive_rows(rows.size(), mine);
  std::vector<int64_t> send_rows;
  for (const int64_t users : rows) send_rows.push_back(users * k);
  at::Tensor input = at::empty({static_cast<int64_t>(best.size()), 2}, at::kLong);
  at::Tensor output = at::empty({mine * comm_.size(), 2}, at::kLong);
  if (!best.empty()) std::memcpy(input.mutable_data_ptr(), best.data(), best.size() * sizeof(ScoredItem));
  comm_.all_to_all(input, send_rows, output, receive_rows, {Channel::kExchange, "best items of a shard"})->wait();
  std::vector<ScoredItem> received(static_cast<size_t>(mine * comm_.size())), merged(static_cast<size_t>(mine)), all;
  if (!received.empty()) std::memcpy(received.data(), output.const_data_ptr(), received.size() * sizeof(ScoredItem));

  for (int64_t user = 0; user < mine; user += k) {
    all.clear();
    for (int64_t part = user; part < mine * comm_.size(); part += mine) {
      const auto list = std::span(received).subspan(static_cast<size_t>(part), static_cast<size_t>(k));
      std::ranges::copy_if(list, std::back_inserter(all), [](const ScoredItem& item) { return item.place >= 0; });
    }
    take_best(all, std::span(merged).subspan(static_cast<size_t>(user), static_cast<size_t>(k)));
  }
  return merged;
}

}  // namespace rondo
