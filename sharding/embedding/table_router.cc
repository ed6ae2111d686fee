#include "sharding/embedding/table_router.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/embedding/pooling.h"
#include "sharding/embedding/raw_bags.h"

namespace rondo {
namespace {

std::span<const uint64_t> keys_of(const at::Tensor& keys) {
  return {reinterpret_cast<const uint64_t*>(keys.const_data_ptr<int64_t>()), static_cast<size_t>(keys.size(0))};
}

std::span<const int64_t> values_of(const at::Tensor& values) {
  return {values.const_data_ptr<int64_t>(), static_cast<size_t>(values.size(0))};
}

/// Weights of the sum that pools a feature; undefined for ones.
at::Tensor sum_weights(const PooledFeature& feature, const TableSpec& spec) {
  if (feature.pooling == Pooling::kSum) return {};
  if (feature.pooling == Pooling::kWeighted) return feature.weights;
  return mean_weights(feature.offsets, at::empty({0}, scalar_type(spec)));
}

/// 1 / size of each bag, 0 for an empty one: [bags, 1].
at::Tensor mean_scale(const at::Tensor& offsets, at::ScalarType type) {
  const auto offset = values_of(offsets);
  at::Tensor scale = at::empty({static_cast<int64_t>(offset.size()) - 1, 1}, type);
  const auto fill = [&](auto* out) {
    for (size_t b = 0; b + 1 < offset.size(); ++b) {
      const int64_t size = offset[b + 1] - offset[b];
      out[b] = size == 0 ? 0 : static_cast<std::remove_pointer_t<decltype(out)>>(1.0) / size;
    }
  };
  type == at::kDouble ? fill(scale.mutable_data_ptr<double>()) : fill(scale.mutable_data_ptr<float>());
  return scale;
}

/// The feature that the id at `position` of all keys of a request belongs to.
std::string feature_at(const TableIds& ids, std::span<const PooledFeature> pooled, std::span<const size_t> features,
                       int64_t position) {
  if (position < ids.keys.size(0)) {
    std::string name;
    for (const FeatureStart& feature : ids.features) {
      if (feature.first <= position) name = feature.name;
    }
    return name;
  }
  position -= ids.keys.size(0);
  for (const size_t f : features) {
    if (position < pooled[f].keys.size(0)) return pooled[f].name;
    position -= pooled[f].keys.size(0);
  }
  return "";
}

/// Which of the distinct keys count: those that `part_of` says are of `part`; null: all.
struct PartChoice {
  const std::vector<uint8_t>* part_of = nullptr;
  uint8_t part = 0;
};

/// places[d] of each id that is distinct key d; -1 where d is of another part.
std::vector<int64_t> places_in(std::span<const int64_t> of_distinct, std::span<const int64_t> places,
                               const PartChoice& choice) {
  std::vector<int64_t> found(of_distinct.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const auto d = static_cast<size_t>(of_distinct[i]);
    found[i] = choice.part_of == nullptr || (*choice.part_of)[d] == choice.part ? places[d] : -1;
  }
  return found;
}

RoutedFeature routed_feature(const PooledFeature& feature, size_t table) {
  return {.name = feature.name,
          .table = table,
          .pooling = feature.pooling,
          .offsets = feature.offsets,
          .here = {},
          .scale = {}};
}

}  // namespace

/// The ids of a table, those of its pooled features behind the rest.
std::span<const uint64_t> TableRouter::all_keys(const AskedTable& request) {
  const auto sequence = keys_of(request.ids.keys);
  if (request.features.empty()) return sequence;
  if (sequence.empty() && request.features.size() == 1) return keys_of(request.pooled[request.features[0]].keys);
  keys_.assign(sequence.begin(), sequence.end());
  for (const size_t f : request.features) {
    const auto more = keys_of(request.pooled[f].keys);
    keys_.insert(keys_.end(), more.begin(), more.end());
  }
  return keys_;
}

/// `first`: place of keys[0] among all ids of the request.
void TableRouter::check_keys(const EmbeddingTable& table, const AskedTable& request, std::span<const uint64_t> keys,
                             int64_t first) const {
  const int64_t position = table.parts[0].placement.first_outside(keys);
  if (position < 0) return;
  const std::string feature = feature_at(request.ids, request.pooled, request.features, first + position);
  throw DataError(concat(
      "table \"", table.spec.name, "\"", feature.empty() ? "" : ", feature \"", feature, feature.empty() ? "" : "\"",
      ": key ", static_cast<int64_t>(keys[static_cast<size_t>(position)]), " on rank ", rank_, " is outside [0, ",
      table.spec.rows, "), the rows of the table; enlarge `rows` or correct the data"));
}

void TableRouter::ask(const EmbeddingTable& table, const AskedTable& request, RoutedIds& out, PackedBags& packed) {
  if (request.is_raw(table)) return ask_raw(table, request, out, packed);
  const std::span<const uint64_t> keys = all_keys(request);
  check_keys(table, request, keys, 0);
  RoutedTable& routed = out.tables[table.parts[0].table];
  position_of_.resize(keys.size());
  const std::span<const uint64_t> found = distinct_.run(keys, position_of_);

  // Ids whose rows come home stand first, so their keys are the first distinct ones.
  const auto sequence = request.ids.keys.size(0);
  size_t home = found.size();
  if (table.parts[0].sums_partially() && !request.features.empty()) {
    const auto last = std::max_element(position_of_.begin(), position_of_.begin() + sequence);
    home = sequence == 0 ? 0 : static_cast<size_t>(*last) + 1;
  }
  routed.parts.resize(table.parts.size());
  split(table, found);
  for (size_t p = 0; p < routed.parts.size(); ++p) {
    // A part that this table has alone takes the distinct keys as they are.
    if (table.parts.size() == 1) {
      part_members_.clear();
      routed.parts[0].first_home = 0;
      place(table.parts[0], found, home, request.mode, routed.parts[0]);
      break;
    }
    part_keys_.clear();
    part_members_.clear();
    size_t part_home = 0;
    for (size_t d = 0; d < found.size(); ++d) {
      if (part_of_[d] != p) continue;
      part_home += d < home ? 1 : 0;
      part_members_.push_back(d);
      part_keys_.push_back(found[d]);
    }
    routed.parts[p].first_home = p == 0 ? 0 : routed.parts[0].home;
    place(table.parts[p], part_keys_, part_home, request.mode, routed.parts[p]);
  }
  routed.distinct = static_cast<int64_t>(home);
  routed.positions = at::empty({sequence}, at::kLong);
  auto* const positions = routed.positions.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < sequence; ++i) {
    positions[i] = row_of_[static_cast<size_t>(position_of_[static_cast<size_t>(i)])];
  }
  count(request, routed);
  take_features(table, request, out, packed);
}

/// Which part each distinct key belongs to.
void TableRouter::split(const EmbeddingTable& table, std::span<const uint64_t> found) {
  place_of_.resize(found.size());
  row_of_.resize(found.size());
  part_of_.assign(found.size(), 0);
  if (table.parts.size() == 1) return;
  for (size_t d = 0; d < found.size(); ++d) part_of_[d] = table.is_hot(found[d]) ? 1 : 0;
}

/// Orders the keys of one part by who holds them. The first `home` of them come home.
void TableRouter::place(const TablePart& part, std::span<const uint64_t> keys, size_t home, LookupMode mode,
                        RoutedPart& routed) {
  const auto world = static_cast<size_t>(world_), me = static_cast<size_t>(rank_);
  const auto n = static_cast<int64_t>(keys.size()), n_home = static_cast<int64_t>(home);
  routed.home = n_home;
  routed.occurrences.assign(keys.size(), 0);
  routed.send_rows.assign(world, 0);
  routed.send_home.assign(world, 0);
  if (part.holders == Holders::kOne) return place_by_owner(part, keys, home, routed);
  routed.keys.assign(keys.begin(), keys.end());
  for (size_t i = 0; i < keys.size(); ++i) {
    const size_t d = part_members_.empty() ? i : part_members_[i];
    place_of_[d] = static_cast<int64_t>(i);
    row_of_[d] = routed.first_home + static_cast<int64_t>(i);
  }
  if (part.holders == Holders::kColumns) {
    for (const int rank : part.columns_of) {
      routed.send_rows[static_cast<size_t>(rank)] = n;
      routed.send_home[static_cast<size_t>(rank)] = n_home;
    }
    return;
  }
  // A replica answers itself, but in training all hear of all keys, so that all make the same rows and updates.
  if (mode == LookupMode::kTrain) routed.send_rows.assign(world, n);
  routed.send_rows[me] = n;
  routed.send_home[me] = n_home;
}

void TableRouter::place_by_owner(const TablePart& part, std::span<const uint64_t> keys, size_t home,
                                 RoutedPart& routed) {
  const auto world = static_cast<size_t>(world_);
  const KeysByOwner grouped = group_by_owner(keys, part.placement, world_);
  routed.keys.assign(grouped.keys.begin(), grouped.keys.end());
  routed.send_rows.assign(grouped.rows.begin(), grouped.rows.end());
  std::vector<int64_t> first(world + 1);  // of each owner's keys
  std::inclusive_scan(grouped.rows.begin(), grouped.rows.end(), first.begin() + 1);
  const auto owner_of = [&](int64_t place) {
    return static_cast<size_t>(std::upper_bound(first.begin(), first.end(), place) - first.begin()) - 1;
  };
  if (home == keys.size()) {
    routed.send_home = routed.send_rows;
  } else {
    for (size_t i = 0; i < home; ++i) ++routed.send_home[owner_of(grouped.place_of[i])];
  }
  std::vector<int64_t> shift(world);  // from a place to the row that comes home
  for (size_t r = 0, rows = 0; r < world; rows += static_cast<size_t>(routed.send_home[r++])) {
    shift[r] = static_cast<int64_t>(rows) - first[r];
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const int64_t at = grouped.place_of[i];
    const size_t d = part_members_.empty() ? i : part_members_[i];
    place_of_[d] = at;
    row_of_[d] = routed.first_home + at + (home == keys.size() ? 0 : shift[owner_of(at)]);
  }
}

/// Counted ids of this rank, by key.
void TableRouter::count(const AskedTable& request, RoutedTable& routed) const {
  const auto add = [&](int64_t first, int64_t counted) {
    for (int64_t i = first; i < first + counted; ++i) {
      const auto d = static_cast<size_t>(position_of_[static_cast<size_t>(i)]);
      ++routed.parts[part_of_[d]].occurrences[static_cast<size_t>(place_of_[d])];
    }
  };
  add(0, request.ids.counted);
  int64_t first = request.ids.keys.size(0);
  for (const size_t f : request.features) {
    add(first, request.pooled[f].counted);
    first += request.pooled[f].keys.size(0);
  }
}

/// The bags of this table's features: over rows that come home, or what the holders must know to sum them.
void TableRouter::take_features(const EmbeddingTable& table, const AskedTable& request, RoutedIds& out,
                                PackedBags& packed) {
  const TablePart& main = table.parts[0];
  std::vector<BagEntries> entries;           // for the holders
  std::vector<std::vector<int64_t>> places;  // of `entries`
  places.reserve(request.features.size());
  auto first = static_cast<size_t>(request.ids.keys.size(0));
  for (const size_t f : request.features) {
    const PooledFeature& feature = request.pooled[f];
    const auto n = static_cast<size_t>(feature.keys.size(0));
    RoutedFeature& routed = out.pooled[f];
    routed = routed_feature(feature, main.table);
    const std::span<const int64_t> of_distinct = std::span(position_of_).subspan(first, n);
    first += n;
    if (!main.sums_partially()) {
      const std::vector<int64_t> here = places_in(of_distinct, row_of_, {});
      routed.here = bags_of({values_of(feature.offsets), here, sum_weights(feature, table.spec)});
      continue;
    }
    const bool hot = table.parts.size() > 1;
    std::vector<int64_t> there = places_in(of_distinct, place_of_, {hot ? &part_of_ : nullptr, 0});
    const at::Tensor weights = feature.pooling == Pooling::kWeighted ? feature.weights : at::Tensor();
    if (hot) {
      const std::vector<int64_t> here = places_in(of_distinct, place_of_, {&part_of_, 1});
      routed.here = bags_of({values_of(feature.offsets), here, weights});
    }
    if (feature.pooling == Pooling::kMean) routed.scale = mean_scale(feature.offsets, scalar_type(table.spec));
    places.push_back(std::move(there));
    entries.push_back({values_of(feature.offsets), places.back(), weights});
  }
  attach(main, entries, out.tables[main.table].parts[0], packed);
}

void TableRouter::attach(const TablePart& part, std::span<const BagEntries> entries, RoutedPart& routed,
                         PackedBags& packed) const {
  routed.send_attached.clear();
  if (!part.sums_partially() || entries.empty()) return;
  if (part.holders == Holders::kOne) {
    pack_bags(entries, routed.send_rows, packed);
    routed.send_attached = packed.group_words;
    return;
  }
  const int64_t rows[] = {static_cast<int64_t>(routed.keys.size())};
  pack_bags(entries, rows, packed);
  routed.send_attached.assign(static_cast<size_t>(world_), 0);
  for (const int rank : part.columns_of) routed.send_attached[static_cast<size_t>(rank)] = packed.group_words[0];
}

/// Every id goes to who holds its row, bag by bag.
void TableRouter::ask_raw(const EmbeddingTable& table, const AskedTable& request, RoutedIds& out, PackedBags& packed) {
  const TablePart& part = table.parts[0];
  const auto world = static_cast<size_t>(world_);
  std::vector<RawFeature> features;
  int64_t ids = 0;
  for (const size_t f : request.features) {
    const PooledFeature& feature = request.pooled[f];
    check_keys(table, request, keys_of(feature.keys), ids);
    ids += feature.keys.size(0);
    out.pooled[f] = routed_feature(feature, part.table);
    if (feature.pooling == Pooling::kMean) {
      out.pooled[f].scale = mean_scale(feature.offsets, scalar_type(table.spec));
    }
    const at::Tensor weights = feature.pooling == Pooling::kWeighted ? feature.weights : at::Tensor();
    features.push_back({values_of(feature.offsets), keys_of(feature.keys), weights, feature.counted});
  }
  RoutedTable& routed = out.tables[part.table];
  routed.distinct = 0;
  routed.positions = at::empty({0}, at::kLong);
  routed.parts.resize(1);
  RoutedPart& asked = routed.parts[0];
  asked.keys.clear();
  asked.occurrences.clear();
  asked.first_home = asked.home = 0;
  asked.send_rows.assign(world, 0);
  asked.send_home.assign(world, 0);
  const int key_words = words_of_key(table.spec);
  if (part.holders == Holders::kOne) {
    pack_raw_bags(features, part.placement, key_words, asked.send_rows, packed);
    asked.send_attached = packed.group_words;
    return;
  }
  pack_raw_bags(features, key_words, packed);
  asked.send_attached.assign(world, 0);
  for (const int rank : part.columns_of) {
    asked.send_rows[static_cast<size_t>(rank)] = ids;
    asked.send_attached[static_cast<size_t>(rank)] = packed.group_words[0];
  }
}

}  // namespace rondo
