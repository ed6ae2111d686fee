#include "trainer/model/recommender_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/random.h"
#include "sharding/embedding/pooling.h"
#include "trainer/model/history_weights.h"
#include "trainer/model/interaction.h"
#include "trainer/text/packed_texts.h"

namespace rondo {
namespace {

constexpr int64_t kItemTable = 0;
constexpr int64_t kFirstBagTable = 1;

/// Items encoded at once when the text-vector table is refreshed: bounds the memory of activations.
constexpr int64_t kRefreshChunk = 1024;

TableSpec named_table(TableSpec spec, const std::string& name, const ModelOptions& options) {
  spec.name = name;
  spec.dim = options.dim;
  if (options.dtype == at::kDouble) spec.row_type = RowType::kFloat64;
  for (const NamedPlacement& decided : options.placements) {
    if (decided.table != name) continue;
    spec.placement = decided.placement;
    spec.owner = decided.owner;
    spec.column_shards = decided.column_shards;
  }
  return spec;
}

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int64_t>());
  return tensor;
}

at::Tensor to_tensor(const std::vector<uint64_t>& keys) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(keys.size())}, at::kLong);
  std::transform(keys.begin(), keys.end(), tensor.data_ptr<int64_t>(),
                 [](uint64_t key) { return static_cast<int64_t>(key); });
  return tensor;
}

bool has_targets(const Batch& batch) { return !batch.targets.empty() && batch.targets.front() >= 0; }

/// trained flag of each of the ids [first, first + count) of a table.
std::vector<uint8_t> trained_flags(const BatchRows& rows, int64_t table, int64_t first, int64_t count) {
  const auto* position = rows.routed.tables[static_cast<size_t>(table)].positions.data_ptr<int64_t>() + first;
  const auto* trained = rows.tables[static_cast<size_t>(table)].trained.data_ptr<bool>();
  std::vector<uint8_t> flags(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) flags[static_cast<size_t>(i)] = trained[position[i]] ? 1 : 0;
  return flags;
}

at::Tensor pool_part(const BatchRows& rows, int64_t table, int64_t first, const WeightedBags& bags) {
  const at::Tensor& positions = rows.routed.tables[static_cast<size_t>(table)].positions;
  return pool_rows(rows.tables[static_cast<size_t>(table)].values, positions.narrow(0, first, bags.weights.size(0)),
                   bags.offsets, bags.weights);
}

}  // namespace

struct RecommenderModel::PartView {
  Part part;
  std::span<const int32_t> places;
  std::vector<int64_t> group_offsets;
  std::vector<double> alpha;
  std::vector<int64_t> first_ids;  // [tables]: where this part's ids begin
  std::vector<int64_t> ids;        // [tables]: how many it has
};

RecommenderModel::RecommenderModel(const ModelOptions& options, const ItemFeatures& features, uint64_t seed)
    : options_(options), features_(features), seed_(seed) {
  validate(options_);
  tables_.push_back(named_table(options_.item_table, "item", options_));
  for (int64_t bag = 0; bag < features_.bags(); ++bag) {
    tables_.push_back(named_table(options_.bag_table, "item." + features_.bag(bag).name, options_));
  }
  if (options_.item.text_beta <= 0.0) return;
  options_.text.output_size = options_.dim;
  text_tower_ = std::make_unique<TextTower>(options_.text, "text", seed_, options_.dtype);
  if (!options_.user.history_text && !options_.frozen_text) return;
  text_table_ = static_cast<int64_t>(tables_.size());
  TableSpec spec = named_table(options_.item_table, "item.text_vector", options_);
  spec.placement = Placement::kRowWise;
  spec.owner = kAnyRank;
  spec.column_shards = 0;
  spec.optimizer.kind = RowOptimizerKind::kNone;
  spec.initial_scale = 0.0;
  if (options_.frozen_text) {
    spec.name = "item.frozen_text";
    spec.dim = options_.text.hidden_size;
    frozen_.emplace(features_);
  }
  tables_.push_back(spec);
}

RecommenderModel::~RecommenderModel() = default;

ParameterList RecommenderModel::parameters() const { return has_text() ? text_tower_->parameters() : ParameterList{}; }

ParameterList RecommenderModel::learning_parameters() const {
  return frozen_ ? text_tower_->projection_parameters() : parameters();
}

RecommenderModel::PartView RecommenderModel::view(const Batch& batch, Part part) const {
  PartView out{part, {}, {}, {}, std::vector<int64_t>(tables_.size()), std::vector<int64_t>(tables_.size())};
  const std::span<const int32_t> targets = has_targets(batch) ? batch.targets : std::span<const int32_t>{};
  if (part == Part::kTargets) {
    out.places = targets;
    out.group_offsets.resize(targets.size() + 1);
    std::iota(out.group_offsets.begin(), out.group_offsets.end(), int64_t{0});
    out.alpha.assign(targets.size(), 1.0);
  } else {
    out.places = batch.history_items;
    out.group_offsets = batch.history_offsets;
    const at::Tensor alpha = history_weights(batch, options_.user);
    out.alpha.assign(alpha.data_ptr<double>(), alpha.data_ptr<double>() + alpha.numel());
  }
  const auto count_bag = [this](int64_t bag, std::span<const int32_t> places) {
    int64_t count = 0;
    for (const int32_t place : places) count += static_cast<int64_t>(features_.bag_keys(bag, place).size());
    return count;
  };
  const bool history = part == Part::kHistories;
  if (frozen_) {
    const auto has_text = [this](int32_t place) { return !features_.text(place).empty(); };
    const auto table = static_cast<size_t>(text_table_);
    out.first_ids[table] = history ? std::ranges::count_if(targets, has_text) : 0;
  }
  out.first_ids[kItemTable] = history ? static_cast<int64_t>(targets.size()) : 0;
  out.ids[kItemTable] = static_cast<int64_t>(out.places.size());
  for (int64_t bag = 0; bag < features_.bags(); ++bag) {
    const auto table = static_cast<size_t>(kFirstBagTable + bag);
    out.first_ids[table] = history ? count_bag(bag, targets) : 0;
    out.ids[table] = count_bag(bag, out.places);
  }
  return out;
}

std::vector<TableIds> RecommenderModel::ids(const Batch& batch) const {
  std::vector<std::vector<uint64_t>> keys(tables_.size());
  const auto add = [&](int32_t place, bool history) {
    keys[kItemTable].push_back(features_.key(place));
    for (int64_t bag = 0; bag < features_.bags(); ++bag) {
      const auto of_item = features_.bag_keys(bag, place);
      auto& of_table = keys[static_cast<size_t>(kFirstBagTable + bag)];
      of_table.insert(of_table.end(), of_item.begin(), of_item.end());
    }
    if (has_text_table() && (frozen_ || history) && reads_text(history ? Part::kHistories : Part::kTargets) &&
        !features_.text(place).empty()) {
      keys[static_cast<size_t>(text_table_)].push_back(frozen_ ? frozen_->key(place) : features_.key(place));
    }
  };
  const bool targets = has_targets(batch);
  if (targets) {
    for (const int32_t place : batch.targets) add(place, false);
  }
  std::vector<int64_t> histories;  // where their ids begin
  for (const auto& of_table : keys) histories.push_back(static_cast<int64_t>(of_table.size()));
  for (const int32_t place : batch.history_items) add(place, true);

  std::vector<TableIds> out;
  for (size_t t = 0; t < keys.size(); ++t) {
    out.push_back({to_tensor(keys[t]), 0, {{"target", 0}, {"history", histories[t]}}});
  }
  if (targets) out[kItemTable].counted = batch.size();
  return out;
}

Presence RecommenderModel::presence(const Batch& batch, const PartView& part, const BatchRows& rows,
                                    const StepContext& context) const {
  Presence out;
  if (context.training) {
    out.id.assign(part.places.size(), 1);
    for (int64_t bag = 0; bag < features_.bags(); ++bag) {
      out.bags.emplace_back(static_cast<size_t>(part.ids[static_cast<size_t>(kFirstBagTable + bag)]), uint8_t{1});
    }
  } else {
    out.id = trained_flags(rows, kItemTable, part.first_ids[kItemTable], part.ids[kItemTable]);
    for (int64_t bag = 0; bag < features_.bags(); ++bag) {
      const auto table = static_cast<size_t>(kFirstBagTable + bag);
      out.bags.push_back(trained_flags(rows, static_cast<int64_t>(table), part.first_ids[table], part.ids[table]));
    }
  }
  const bool targets = part.part == Part::kTargets;
  if (targets && context.training && options_.item.id_dropout > 0.0) {
    const CounterRandom random(context.seed, static_cast<uint64_t>(context.step), RandomPurpose::kIdDropout);
    for (size_t i = 0; i < out.id.size(); ++i) {
      const auto example = static_cast<uint64_t>(batch.examples[i]);
      if (random.uniform(example, 0) < options_.item.id_dropout) out.id[i] = 0;
    }
  }
  const bool text = reads_text(part.part);
  for (const int32_t place : part.places) out.text.push_back(text && !features_.text(place).empty() ? 1 : 0);
  return out;
}

at::Tensor RecommenderModel::unit_text(const at::Tensor& vectors) const {
  if (!options_.item.normalize_text) return vectors;
  return vectors / vectors.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

at::Tensor RecommenderModel::target_texts(const PartView& part, const WeightedBags& bags,
                                          const StepContext& context) const {
  std::vector<std::span<const int32_t>> texts;
  for (const int32_t place : part.places) {
    if (const auto text = features_.text(place); !text.empty()) texts.push_back(text);
  }
  const DistinctTexts distinct = distinct_texts(texts);
  const at::Tensor vectors = unit_text(text_tower_->encode(distinct.texts, context));
  return pool_rows(vectors, to_tensor(distinct.places), bags.offsets, bags.weights);
}

at::Tensor RecommenderModel::frozen_texts(const PartView& part, const BatchRows& rows, const WeightedBags& bags) const {
  const auto table = static_cast<size_t>(text_table_);
  const at::Tensor vectors = unit_text(text_tower_->projected(rows.tables[table].values));  // [distinct, dim]
  const at::Tensor& positions = rows.routed.tables[table].positions;
  return pool_rows(vectors, positions.narrow(0, part.first_ids[table], bags.weights.size(0)), bags.offsets,
                   bags.weights);
}

at::Tensor RecommenderModel::mix(const Batch& batch, Part which, const BatchRows& rows,
                                 const StepContext& context) const {
  const PartView part = view(batch, which);
  const Presence present = presence(batch, part, rows, context);
  const MixPlan plan = plan_mix({part.places, part.group_offsets, part.alpha}, present, features_, options_);
  at::Tensor vectors = pool_part(rows, kItemTable, part.first_ids[kItemTable], plan.id);
  for (int64_t bag = 0; bag < features_.bags(); ++bag) {
    const int64_t table = kFirstBagTable + bag;
    vectors = vectors +
              pool_part(rows, table, part.first_ids[static_cast<size_t>(table)], plan.bags[static_cast<size_t>(bag)]);
  }
  if (!reads_text(which)) return vectors;
  if (frozen_) return vectors + frozen_texts(part, rows, plan.text);
  if (which == Part::kTargets) return vectors + target_texts(part, plan.text, context);
  return vectors + pool_part(rows, text_table_, 0, plan.text);
}

at::Tensor RecommenderModel::user_vectors(const Batch& batch, const BatchRows& rows, const StepContext& context) const {
  return mix(batch, Part::kHistories, rows, context);
}

at::Tensor RecommenderModel::item_vectors(const Batch& batch, const BatchRows& rows, const StepContext& context) const {
  return mix(batch, Part::kTargets, rows, context);
}

at::Tensor RecommenderModel::target_keys(const Batch& batch) const {
  std::vector<uint64_t> keys;
  for (const int32_t place : batch.targets) keys.push_back(features_.key(place));
  return to_tensor(keys);
}

at::Tensor RecommenderModel::target_probabilities(const Batch& batch, const BatchRows& rows) const {
  const at::Tensor positions = rows.routed.tables[kItemTable].positions.narrow(0, 0, batch.size());
  return rows.tables[kItemTable].counts.index_select(0, positions) / static_cast<double>(batch.global_size);
}

std::vector<uint64_t> RecommenderModel::positive_keys(const Batch& batch) const {
  std::vector<uint64_t> keys(batch.positives.size());
  std::transform(batch.positives.begin(), batch.positives.end(), keys.begin(),
                 [this](int32_t place) { return features_.key(place); });
  return keys;
}

at::Tensor RecommenderModel::normalized(const at::Tensor& vectors) const {
  return rondo::normalized(vectors, options_.interaction.kind);
}

int64_t RecommenderModel::refresh_text_vectors(ShardedEmbedding& embedding, const StepContext& context) const {
  if (!has_text_table()) return 0;
  const at::NoGradGuard no_grad;
  return frozen_ ? frozen_->encode_missing(*text_tower_, embedding.store(text_table_), context)
                 : encode_items(embedding, context);
}

int64_t RecommenderModel::encode_items(ShardedEmbedding& embedding, const StepContext& context) const {
  int64_t encoded = 0;
  RowStore& store = embedding.store(text_table_);
  const BucketRange range = store.range();
  std::vector<uint64_t> keys;
  std::vector<std::span<const int32_t>> texts;
  const auto flush = [&] {
    std::vector<int64_t> slots(keys.size());
    store.find_or_create(keys, slots);
    const DistinctTexts distinct = distinct_texts(texts);
    const at::Tensor vectors = unit_text(text_tower_->encode(distinct.texts, {context.seed, context.step, false}));
    store.assign(slots, vectors.index_select(0, to_tensor(distinct.places)), std::max<int64_t>(context.step, 1));
    encoded += distinct.texts.size();
    keys.clear();
    texts.clear();
  };
  for (int32_t place = 0; place < features_.items(); ++place) {
    const uint64_t key = features_.key(place);
    const int64_t bucket = bucket_of(key, store.spec().buckets);
    if (bucket < range.first || bucket >= range.last || features_.text(place).empty()) continue;
    keys.push_back(key);
    texts.push_back(features_.text(place));
    if (static_cast<int64_t>(keys.size()) == kRefreshChunk) flush();
  }
  if (!keys.empty()) flush();
  return encoded;
}

}  // namespace rondo
