#include "sharding/embedding/id_router.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/embedding/pooling.h"

namespace rondo {
namespace {

std::span<const uint64_t> keys_of(const at::Tensor& keys) {
  return {reinterpret_cast<const uint64_t*>(keys.const_data_ptr<int64_t>()), static_cast<size_t>(keys.size(0))};
}

std::span<const int64_t> values_of(const at::Tensor& values) {
  return {values.const_data_ptr<int64_t>(), static_cast<size_t>(values.size(0))};
}

void check_ids(const at::Tensor& keys, int64_t counted, const std::string& of) {
  RONDO_CHECK(keys.scalar_type() == at::kLong && keys.is_contiguous() && keys.dim() == 1, "keys of ", of);
  RONDO_CHECK(counted >= 0 && counted <= keys.size(0), "counted ", counted, " of ", keys.size(0), " ids of ", of);
}

void check_feature(const PooledFeature& feature, const TableSpec& spec) {
  check_ids(feature.keys, feature.counted, feature.name);
  RONDO_CHECK(feature.offsets.scalar_type() == at::kLong && feature.offsets.is_contiguous() &&
                  feature.offsets.dim() == 1 && feature.offsets.size(0) >= 1,
              "offsets of ", feature.name);
  const auto offsets = values_of(feature.offsets);
  RONDO_CHECK(offsets.front() == 0 && offsets.back() == feature.keys.size(0) && std::ranges::is_sorted(offsets),
              "offsets of ", feature.name);
  if (feature.pooling != Pooling::kWeighted) return;
  RONDO_CHECK(feature.weights.defined() && feature.weights.scalar_type() == scalar_type(spec) &&
                  feature.weights.is_contiguous() && feature.weights.numel() == feature.keys.size(0),
              "weights of ", feature.name);
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

}  // namespace

void IdRouter::route(std::span<const TableIds> ids, std::span<const PooledFeature> pooled, LookupMode mode,
                     RoutedIds& routed) {
  RONDO_CHECK_EQ(ids.size(), tables_.size());
  routed.mode = mode;
  routed.tables.resize(tables_.size());
  routed.pooled.assign(pooled.size(), {});
  packed_.resize(2 * tables_.size());
  for (size_t t = 0; t < tables_.size(); ++t) {
    check_ids(ids[t].keys, ids[t].counted, tables_[t].spec.name);
    Request request{ids[t], pooled, {}, mode};
    for (size_t f = 0; f < pooled.size(); ++f) {
      if (pooled[f].table != static_cast<int64_t>(t)) continue;
      check_feature(pooled[f], tables_[t].spec);
      request.features.push_back(f);
    }
    collect(tables_[t], request, routed);
  }
  exchange(mode, routed);
}

/// The ids of a table, those of its pooled features behind the rest.
std::span<const uint64_t> IdRouter::all_keys(const EmbeddingTable&, const Request& request) {
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

void IdRouter::check_keys(const EmbeddingTable& table, const Request& request, std::span<const uint64_t> keys) const {
  const int64_t position = table.parts[0].placement.first_outside(keys);
  if (position < 0) return;
  const std::string feature = feature_at(request.ids, request.pooled, request.features, position);
  throw DataError(concat(
      "table \"", table.spec.name, "\"", feature.empty() ? "" : ", feature \"", feature, feature.empty() ? "" : "\"",
      ": key ", static_cast<int64_t>(keys[static_cast<size_t>(position)]), " on rank ", comm_.rank(),
      " is outside [0, ", table.spec.rows, "), the rows of the table; enlarge `rows` or correct the data"));
}

/// Steps 1 and 2: what this rank asks of one table.
void IdRouter::collect(const EmbeddingTable& table, const Request& request, RoutedIds& out) {
  const std::span<const uint64_t> keys = all_keys(table, request);
  check_keys(table, request, keys);
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
  split(table, found, home, routed);
  for (size_t p = 0; p < routed.parts.size(); ++p) {
    // A part that this table has alone takes the distinct keys as they are.
    if (table.parts.size() == 1) {
      part_members_.clear();
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
  take_features(table, request, out);
}

/// Which part each distinct key belongs to.
void IdRouter::split(const EmbeddingTable& table, std::span<const uint64_t> found, size_t, RoutedTable& routed) {
  place_of_.resize(found.size());
  row_of_.resize(found.size());
  part_of_.assign(found.size(), 0);
  routed.parts[0].first_home = 0;
  if (table.parts.size() == 1) return;
  for (size_t d = 0; d < found.size(); ++d) part_of_[d] = table.is_hot(found[d]) ? 1 : 0;
}

/// Orders the keys of one part by who holds them. The first `home` of them come home.
void IdRouter::place(const TablePart& part, std::span<const uint64_t> keys, size_t home, LookupMode mode,
                     RoutedPart& routed) {
  const auto world = static_cast<size_t>(comm_.size()), me = static_cast<size_t>(comm_.rank());
  const auto n = static_cast<int64_t>(keys.size()), n_home = static_cast<int64_t>(home);
  const auto member = [&](size_t i) { return part_members_.empty() ? i : part_members_[i]; };
  routed.home = n_home;
  routed.occurrences.assign(keys.size(), 0);
  routed.send_rows.assign(world, 0);
  routed.send_home.assign(world, 0);
  if (part.holders == Holders::kOne) {
    const KeysByOwner grouped = group_by_owner(keys, part.placement, comm_.size());
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
      place_of_[member(i)] = at;
      row_of_[member(i)] = routed.first_home + at + (home == keys.size() ? 0 : shift[owner_of(at)]);
    }
    return;
  }
  routed.keys.assign(keys.begin(), keys.end());
  for (size_t i = 0; i < keys.size(); ++i) {
    place_of_[member(i)] = static_cast<int64_t>(i);
    row_of_[member(i)] = routed.first_home + static_cast<int64_t>(i);
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

/// Counted ids of this rank, by key.
void IdRouter::count(const Request& request, RoutedTable& routed) const {
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
void IdRouter::take_features(const EmbeddingTable& table, const Request& request, RoutedIds& out) {
  const TablePart& main = table.parts[0];
  std::vector<BagEntries> entries;           // for the holders
  std::vector<std::vector<int64_t>> places;  // of `entries`
  places.reserve(request.features.size());
  auto first = static_cast<size_t>(request.ids.keys.size(0));
  for (const size_t f : request.features) {
    const PooledFeature& feature = request.pooled[f];
    const auto n = static_cast<size_t>(feature.keys.size(0));
    RoutedFeature& routed = out.pooled[f];
    routed = {.name = feature.name,
              .table = main.table,
              .pooling = feature.pooling,
              .offsets = feature.offsets,
              .here = {},
              .scale = {}};
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
  attach(main, request, entries, out.tables[main.table].parts[0]);
}

void IdRouter::attach(const TablePart& part, const Request& request, std::span<const BagEntries> entries,
                      RoutedPart& routed) {
  routed.send_attached.clear();
  if (!part.sums_partially() || request.features.empty()) return;
  PackedBags& packed = packed_[2 * part.table];
  routed.send_attached.assign(static_cast<size_t>(comm_.size()), 0);
  if (part.holders == Holders::kOne) {
    pack_bags(entries, routed.send_rows, packed);
    routed.send_attached = packed.group_words;
    return;
  }
  const int64_t rows[] = {static_cast<int64_t>(routed.keys.size())};
  pack_bags(entries, rows, packed);
  for (const int rank : part.columns_of) routed.send_attached[static_cast<size_t>(rank)] = packed.group_words[0];
}

/// Step 3, and what it brings.
void IdRouter::exchange(LookupMode mode, RoutedIds& routed) {
  std::vector<AskedIds> asked;
  for (size_t t = 0; t < tables_.size(); ++t) {
    for (size_t p = 0; p < tables_[t].parts.size(); ++p) {
      const RoutedPart& part = routed.tables[t].parts[p];
      AskedIds ids{.keys = part.keys,
                   .occurrences = part.occurrences,
                   .rows = part.send_rows,
                   .to_all = tables_[t].parts[p].holders != Holders::kOne};
      if (p == 0 && !part.send_attached.empty()) {
        ids.attached = packed_[2 * t].words;
        ids.attached_words = part.send_attached;
        ids.home = part.send_home;
      }
      asked.push_back(ids);
    }
  }
  received_.resize(asked.size());
  ids_.exchange_counts(asked, received_);
  ids_.exchange_ids(asked, received_);
  size_t next = 0;
  for (size_t t = 0; t < tables_.size(); ++t) {
    std::vector<at::ScalarType> weights;
    for (const RoutedFeature& feature : routed.pooled) {
      if (feature.table != t) continue;
      weights.push_back(feature.pooling == Pooling::kWeighted ? scalar_type(tables_[t].spec) : at::kLong);
    }
    for (size_t p = 0; p < tables_[t].parts.size(); ++p, ++next) {
      RoutedPart& part = routed.tables[t].parts[p];
      unpack(weights, received_[next], part);
      resolve(tables_[t].parts[p], received_[next], mode, part);
    }
  }
}

/// What ranks ask of this one for their bags.
void IdRouter::unpack(std::span<const at::ScalarType> weights, const ReceivedIds& received, RoutedPart& routed) const {
  const auto world = static_cast<size_t>(comm_.size());
  routed.receive_rows.assign(received.rows.begin(), received.rows.end());
  routed.asked_bags.clear();
  if (routed.send_attached.empty()) {
    routed.receive_home = routed.receive_rows;
    routed.receive_attached.clear();
    return;
  }
  routed.receive_home.assign(received.home.begin(), received.home.end());
  routed.receive_attached.assign(received.attached_words.begin(), received.attached_words.end());
  routed.asked_bags.resize(weights.size() * world);
  std::vector<BagList> bags(weights.size());
  size_t first = 0;
  for (size_t rank = 0; rank < world; ++rank) {
    const auto words = static_cast<size_t>(received.attached_words[rank]);
    if (words == 0) continue;
    unpack_bags(std::span(received.attached).subspan(first, words), weights, bags);
    for (size_t f = 0; f < weights.size(); ++f) routed.asked_bags[f * world + rank] = bags[f];
    first += words;
  }
}

/// What all ranks ask of this rank's rows of one part: slots, and each row once for the update.
void IdRouter::resolve(TablePart& part, ReceivedIds& received, LookupMode mode, RoutedPart& routed) {
  routed.slots.resize(received.keys.size());
  routed.updated.clear();
  routed.updated_keys.clear();
  routed.updated_occurrences.clear();
  routed.update_of.clear();
  if (mode == LookupMode::kEvaluate) return part.store.find(received.keys, routed.slots);
  const auto askers = std::ranges::count_if(routed.receive_rows, [](int64_t rows) { return rows > 0; });
  if (askers <= 1) {
    part.store.find_or_create(received.keys, routed.slots);
    routed.updated.assign(routed.slots.begin(), routed.slots.end());
    routed.updated_keys.assign(received.keys.begin(), received.keys.end());
    routed.updated_occurrences.assign(received.occurrences.begin(), received.occurrences.end());
    return;
  }
  routed.update_of.resize(received.keys.size());
  const std::span<const uint64_t> keys = distinct_.run(received.keys, routed.update_of);
  routed.updated.resize(keys.size());
  routed.updated_keys.assign(keys.begin(), keys.end());
  routed.updated_occurrences.assign(keys.size(), 0);
  part.store.find_or_create(keys, routed.updated);
  for (size_t i = 0; i < routed.slots.size(); ++i) {
    const auto place = static_cast<size_t>(routed.update_of[i]);
    routed.slots[i] = routed.updated[place];
    routed.updated_occurrences[place] += received.occurrences[i];
  }
}

}  // namespace rondo
