#include "sharding/embedding/id_router.h"

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/raw_bags.h"

namespace rondo {
namespace {

constexpr int64_t kRaw = -1;  // travels as ReceivedIds::home of a table whose ids came as they are

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

}  // namespace

void IdRouter::begin(std::span<const TableIds> ids, std::span<const PooledFeature> pooled, LookupMode mode,
                     RoutedIds& routed) {
  RONDO_CHECK_EQ(ids.size(), tables_.size());
  RONDO_CHECK(routed_ == nullptr, "a batch is being routed");
  routed.mode = mode;
  routed.tables.resize(tables_.size());
  routed.pooled.assign(pooled.size(), {});
  packed_.resize(tables_.size());
  none_.assign(static_cast<size_t>(comm_.size()), 0);
  raw_.assign(static_cast<size_t>(comm_.size()), kRaw);
  std::vector<AskedTable> requests;
  for (size_t t = 0; t < tables_.size(); ++t) {
    check_ids(ids[t].keys, ids[t].counted, tables_[t].spec.name);
    requests.push_back({ids[t], pooled, {}, mode});
    for (size_t f = 0; f < pooled.size(); ++f) {
      if (pooled[f].table != static_cast<int64_t>(t)) continue;
      check_feature(pooled[f], tables_[t].spec);
      requests.back().features.push_back(f);
    }
  }
  while (routers_.size() < static_cast<size_t>(threads())) routers_.emplace_back(comm_.rank(), comm_.size());
  const auto tables = static_cast<int64_t>(tables_.size());
  parallel_for(tables, 1, [&](int64_t begin, int64_t end) {
    for (auto t = static_cast<size_t>(begin); t < static_cast<size_t>(end); ++t) {
      routers_[static_cast<size_t>(worker())].ask(tables_[t], requests[t], routed, packed_[t]);
    }
  });
  routed_ = &routed;
  collect_asked(requests);
  received_.resize(asked_.size());
  ids_.send_counts(asked_, received_);
}

void IdRouter::advance() { ids_.send_ids(asked_, received_); }

void IdRouter::finish() {
  ids_.take_ids(asked_, received_);
  std::vector<size_t> first(tables_.size());  // of each table in received_
  for (size_t t = 1; t < first.size(); ++t) first[t] = first[t - 1] + tables_[t - 1].parts.size();
  parallel_for(static_cast<int64_t>(tables_.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto t = static_cast<size_t>(begin); t < static_cast<size_t>(end); ++t) {
      take(t, std::span(received_).subspan(first[t], tables_[t].parts.size()));
    }
  });
  routed_ = nullptr;
}

/// Step 3: what goes to the holders, part by part.
void IdRouter::collect_asked(std::span<const AskedTable> requests) {
  asked_.clear();
  for (size_t t = 0; t < tables_.size(); ++t) {
    for (size_t p = 0; p < tables_[t].parts.size(); ++p) {
      const RoutedPart& part = routed_->tables[t].parts[p];
      const bool raw = requests[t].is_raw(tables_[t]);
      AskedIds ids{.keys = part.keys,
                   .occurrences = part.occurrences,
                   .rows = raw ? none_ : part.send_rows,
                   .to_all = tables_[t].parts[p].holders != Holders::kOne};
      if (p == 0 && !part.send_attached.empty()) {
        ids.attached = packed_[t].words;
        ids.attached_words = part.send_attached;
        ids.home = raw ? raw_ : part.send_home;
      }
      asked_.push_back(ids);
    }
  }
}

/// What all ranks ask of this rank's rows of one table.
void IdRouter::take(size_t table, std::span<ReceivedIds> received) {
  std::vector<at::ScalarType> weights;
  for (const RoutedFeature& feature : routed_->pooled) {
    if (feature.table != table) continue;
    weights.push_back(feature.pooling == Pooling::kWeighted ? scalar_type(tables_[table].spec) : at::kLong);
  }
  for (size_t p = 0; p < received.size(); ++p) {
    TablePart& part = tables_[table].parts[p];
    RoutedPart& asked = routed_->tables[table].parts[p];
    const bool distinct = unpack(part.spec(), weights, received[p], asked);
    asked.slots.resize(received[p].keys.size());
    asked.updated.clear();
    asked.updated_keys.clear();
    asked.updated_occurrences.clear();
    asked.update_of.clear();
    if (routed_->mode == LookupMode::kEvaluate) {
      part.store.find(received[p].keys, asked.slots);
    } else {
      resolve(part, received[p], distinct, asked);
    }
  }
}

/// What ranks ask of this one for their bags. Are the keys of each rank distinct?
bool IdRouter::unpack(const TableSpec& spec, std::span<const at::ScalarType> weights, ReceivedIds& received,
                      RoutedPart& routed) const {
  const auto world = static_cast<size_t>(comm_.size());
  routed.receive_rows.assign(received.rows.begin(), received.rows.end());
  routed.asked_bags.clear();
  if (routed.send_attached.empty()) {
    routed.receive_home = routed.receive_rows;
    return true;
  }
  routed.receive_home.assign(received.home.begin(), received.home.end());
  routed.asked_bags.resize(weights.size() * world);
  const bool raw = std::ranges::find(received.home, kRaw) != received.home.end();
  // Raw keys join those that came on their own, rank by rank.
  std::vector<uint64_t> keys;
  std::vector<int64_t> occurrences;
  if (raw && !received.keys.empty()) {
    keys.swap(received.keys);
    occurrences.swap(received.occurrences);
  }
  std::vector<BagList> bags(weights.size());
  for (size_t rank = 0, first_word = 0, first_key = 0; rank < world; ++rank) {
    const auto words =
        std::span(received.attached).subspan(first_word, static_cast<size_t>(received.attached_words[rank]));
    first_word += words.size();
    if (received.home[rank] == kRaw) {
      const size_t before = received.keys.size();
      routed.receive_home[rank] = 0;
      if (words.empty()) continue;
      unpack_raw_bags(words, weights, words_of_key(spec), received.keys, received.occurrences, bags);
      routed.receive_rows[rank] = static_cast<int64_t>(received.keys.size() - before);
    } else {
      if (!keys.empty()) {
        const auto first = static_cast<int64_t>(first_key), last = first + routed.receive_rows[rank];
        received.keys.insert(received.keys.end(), keys.begin() + first, keys.begin() + last);
        received.occurrences.insert(received.occurrences.end(), occurrences.begin() + first,
                                    occurrences.begin() + last);
        first_key = static_cast<size_t>(last);
      }
      if (words.empty()) continue;
      unpack_bags(words, weights, bags);
    }
    for (size_t f = 0; f < weights.size(); ++f) routed.asked_bags[f * world + rank] = bags[f];
  }
  return !raw;
}

/// Slots of what all ranks ask of this rank's rows of one part, and each row once for the update.
void IdRouter::resolve(TablePart& part, const ReceivedIds& received, bool distinct, RoutedPart& routed) {
  const auto askers = std::ranges::count_if(routed.receive_rows, [](int64_t rows) { return rows > 0; });
  if (distinct && askers <= 1) {
    part.store.find_or_create(received.keys, routed.slots);
    routed.updated.assign(routed.slots.begin(), routed.slots.end());
    routed.updated_keys.assign(received.keys.begin(), received.keys.end());
    routed.updated_occurrences.assign(received.occurrences.begin(), received.occurrences.end());
    return;
  }
  routed.update_of.resize(received.keys.size());
  TableRouter& router = routers_[static_cast<size_t>(worker())];
  const std::span<const uint64_t> keys = router.distinct(received.keys, routed.update_of);
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
