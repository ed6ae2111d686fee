#include "sharding/embedding/table_part.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sharding/exchange/wire_codec.h"
#include "sharding/plan/shard.h"

namespace rondo {
namespace {

Holders holders_of(Placement placement) {
  switch (placement) {
    case Placement::kReplicated:
      return Holders::kAll;
    case Placement::kColumnWise:
      return Holders::kColumns;
    case Placement::kRowWise:
    case Placement::kTableWise:
      break;
  }
  return Holders::kOne;
}

/// Where a row to be ordered by bucket, then key, lies.
struct KeyAt {
  int64_t bucket;
  uint64_t key;
  int64_t place;

  auto operator<=>(const KeyAt&) const = default;
};

/// Rows `places` of `rows`, in that order.
BucketRows select(const BucketRows& rows, const std::vector<int64_t>& places) {
  at::Tensor index = at::empty({static_cast<int64_t>(places.size())}, at::kLong);
  std::ranges::copy(places, index.mutable_data_ptr<int64_t>());
  BucketRows chosen{.keys = {},
                    .values = rows.values.index_select(0, index),
                    .state = rows.state.index_select(0, index),
                    .counts = {},
                    .versions = {}};
  for (const int64_t place : places) {
    chosen.keys.push_back(rows.keys[static_cast<size_t>(place)]);
    chosen.counts.push_back(rows.counts[static_cast<size_t>(place)]);
    chosen.versions.push_back(rows.versions[static_cast<size_t>(place)]);
  }
  return chosen;
}

/// The rows of `first`, then those of `second`.
BucketRows join(BucketRows first, const BucketRows& second) {
  first.keys.insert(first.keys.end(), second.keys.begin(), second.keys.end());
  first.values = at::cat({first.values, second.values});
  first.state = at::cat({first.state, second.state});
  first.counts.insert(first.counts.end(), second.counts.begin(), second.counts.end());
  first.versions.insert(first.versions.end(), second.versions.begin(), second.versions.end());
  return first;
}

}  // namespace

int64_t TablePart::first_column(int rank) const {
  if (holders != Holders::kColumns) return 0;
  const auto at = std::ranges::find(columns_of, rank);
  return at == columns_of.end() ? -1 : (at - columns_of.begin()) * width();
}

int64_t TablePart::first_home(const RoutedPart& routed, int rank) const {
  return routed.first_home + (holders == Holders::kOne ? sum_before(routed.send_home, rank) : 0);
}

EmbeddingTable make_table(const TableSpec& spec, size_t table, uint64_t seed, const Communicator& comm,
                          DeviceStaging* staging) {
  const int rank = comm.rank(), world = comm.size();
  const Shard shard = shard_of_rank(spec, rank, world);
  EmbeddingTable made{.spec = spec, .parts = {}};
  made.parts.push_back(
      {.table = table,
       .holders = holders_of(spec.placement),
       .placement = KeyPlacement(spec, world),
       .columns_of = spec.placement == Placement::kColumnWise ? column_owners(spec, world) : std::vector<int>{},
       .store = RowStore(spec, shard.buckets, shard.columns, seed, staging)});
  if (!spec.hot_keys.empty()) {
    // A few keys of any bucket: an index, also where the rest needs none. Names and keys fix the initial values.
    TableSpec hot = spec;
    hot.key_space = KeySpace::kHashed;
    hot.rows = static_cast<int64_t>(spec.hot_keys.size());
    made.parts.push_back({.table = table,
                          .holders = Holders::kAll,
                          .placement = KeyPlacement(hot, world),
                          .columns_of = {},
                          .store = RowStore(hot, {0, hot.buckets}, seed)});
  }
  return made;
}

int64_t EmbeddingTable::rows() const {
  const RowStore& store = parts[0].store;
  return store.rows() + (parts.size() == 1 ? 0 : static_cast<int64_t>(hot_rows(store.range()).keys.size()));
}

BucketRangeRows EmbeddingTable::export_buckets(BucketRange range) const {
  BucketRangeRows cold = parts[0].store.export_buckets(range);
  if (parts.size() == 1) return cold;
  const BucketRows hot = hot_rows(range);
  const auto n_cold = static_cast<int64_t>(cold.rows.keys.size());
  std::vector<KeyAt> order;
  for (size_t i = 0; i < cold.rows.keys.size(); ++i) order.push_back({0, cold.rows.keys[i], static_cast<int64_t>(i)});
  for (size_t i = 0; i < hot.keys.size(); ++i) order.push_back({0, hot.keys[i], n_cold + static_cast<int64_t>(i)});
  for (KeyAt& entry : order) entry.bucket = parts[0].placement.bucket(entry.key);
  std::ranges::sort(order);
  std::vector<int64_t> places;
  std::vector<int64_t> offsets(cold.offsets.size());
  for (const KeyAt& entry : order) {
    places.push_back(entry.place);
    ++offsets[static_cast<size_t>(entry.bucket - range.first) + 1];
  }
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return {range, std::move(offsets), select(join(cold.rows, hot), places)};
}

void EmbeddingTable::import_buckets(const BucketRangeRows& buckets) {
  if (parts.size() == 1) return parts[0].store.import_buckets(buckets);
  const BucketRange held = parts[0].store.range(), range = buckets.range;
  BucketRangeRows cold{range, {0}, {}};
  std::vector<int64_t> of_cold, of_hot;
  for (size_t b = 0; b + 1 < buckets.offsets.size(); ++b) {
    for (int64_t i = buckets.offsets[b]; i < buckets.offsets[b + 1]; ++i) {
      (is_hot(buckets.rows.keys[static_cast<size_t>(i)]) ? of_hot : of_cold).push_back(i);
    }
    cold.offsets.push_back(static_cast<int64_t>(of_cold.size()));
  }
  parts[1].store.import_rows(select(buckets.rows, of_hot));
  if (range.first < held.first || range.last > held.last) return;
  cold.rows = select(buckets.rows, of_cold);
  parts[0].store.import_buckets(cold);
}

bool EmbeddingTable::wants(BucketRange range) const {
  const BucketRange held = parts[0].store.range();
  if (range.first < held.last && held.first < range.last) return true;
  return std::ranges::any_of(spec.hot_keys, [&](uint64_t key) {
    const int64_t bucket = parts[0].placement.bucket(key);
    return range.first <= bucket && bucket < range.last;
  });
}

/// The hot rows whose buckets, among those of the whole table, are in `range`.
BucketRows EmbeddingTable::hot_rows(BucketRange range) const {
  const BucketRows all = parts[1].store.export_buckets(parts[1].store.range()).rows;
  std::vector<int64_t> places;
  for (size_t i = 0; i < all.keys.size(); ++i) {
    const int64_t bucket = parts[0].placement.bucket(all.keys[i]);
    if (range.first <= bucket && bucket < range.last) places.push_back(static_cast<int64_t>(i));
  }
  return select(all, places);
}

at::ScalarType scalar_type(const TableSpec& spec) { return compute_type(spec.row_type); }

int64_t sum_before(std::span<const int64_t> counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

}  // namespace rondo
