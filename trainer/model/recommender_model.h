#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/sharded_embedding.h"
#include "trainer/data/batch.h"
#include "trainer/model/frozen_texts.h"
#include "trainer/model/item_features.h"
#include "trainer/model/mix_plan.h"
#include "trainer/model/model_options.h"
#include "trainer/nn/parameter.h"
#include "trainer/text/text_tower.h"

namespace rondo {

/// The rows that came back for a batch, with the way from ids to rows.
struct BatchRows {
  const RoutedIds& routed;
  std::span<const TableRows> tables;
};

/// Two towers over one catalogue: what turns a batch into user and item vectors, and which rows it needs for that.
///
/// Train, evaluate and recommend use the same three calls: `ids` -> (route, forward) -> `user_vectors`, `item_vectors`.
/// Knows no order of steps and no transport. One thread.
class RecommenderModel {
 public:
  /// `features` outlives the model. Throws ConfigError by `validate(options)`.
  RecommenderModel(const ModelOptions& options, const ItemFeatures& features, uint64_t seed);
  ~RecommenderModel();

  const ModelOptions& options() const { return options_; }

  /// Tables in order: items, one a categorical feature, and the text-vector table: with user.history_text that of the
  /// items of histories, with frozen_text what the encoder says of each text.
  const std::vector<TableSpec>& tables() const { return tables_; }

  /// Dense parameters (the text tower's), in a fixed order; and those of them that learn: of a frozen tower the
  /// projection alone.
  ParameterList parameters() const;
  ParameterList learning_parameters() const;

  /// nullptr without text.
  const TextTower* text_tower() const { return text_tower_.get(); }

  /// Ids of every table for the targets and histories of `batch` (targets -1: histories only).
  std::vector<TableIds> ids(const Batch& batch) const;

  /// u [b, dim] from the histories; zero where nothing of it is known.
  at::Tensor user_vectors(const Batch& batch, const BatchRows& rows, const StepContext& context) const;

  /// v [b, dim] of the targets. Each distinct text is encoded once.
  at::Tensor item_vectors(const Batch& batch, const BatchRows& rows, const StepContext& context) const;

  /// What the loss needs to know of the targets: keys int64 [b], p float32 [b] at this step.
  at::Tensor target_keys(const Batch& batch) const;
  at::Tensor target_probabilities(const Batch& batch, const BatchRows& rows) const;
  std::vector<uint64_t> positive_keys(const Batch& batch) const;

  /// Divides by the length when the interaction is cosine (zero stays zero).
  at::Tensor normalized(const at::Tensor& vectors) const;

  /// Encodes the texts of all items whose text-vector row this rank owns, of a frozen tower those that have none yet;
  /// call on every rank, before the first step, every options().text_refresh_steps unless frozen, and before an
  /// evaluation. Returns how many it encoded: none without a text-vector table.
  int64_t refresh_text_vectors(ShardedEmbedding& embedding, const StepContext& context) const;
  bool has_text_table() const { return text_table_ >= 0; }

 private:
  /// The targets of a batch, or its histories: where their ids begin in each table, and how they mix.
  enum class Part : uint8_t { kTargets, kHistories };
  struct PartView;

  bool has_text() const { return text_tower_ != nullptr; }
  bool reads_text(Part part) const { return has_text() && (part == Part::kTargets || options_.user.history_text); }
  int64_t encode_items(ShardedEmbedding& embedding, const StepContext& context) const;
  PartView view(const Batch& batch, Part part) const;
  Presence presence(const Batch& batch, const PartView& part, const BatchRows& rows, const StepContext& context) const;
  at::Tensor mix(const Batch& batch, Part part, const BatchRows& rows, const StepContext& context) const;
  at::Tensor target_texts(const PartView& part, const WeightedBags& bags, const StepContext& context) const;
  at::Tensor frozen_texts(const PartView& part, const BatchRows& rows, const WeightedBags& bags) const;
  at::Tensor unit_text(const at::Tensor& vectors) const;

  ModelOptions options_;
  const ItemFeatures& features_;
  uint64_t seed_;
  std::vector<TableSpec> tables_;
  int64_t text_table_ = -1;
  std::unique_ptr<TextTower> text_tower_;
  std::optional<FrozenTexts> frozen_;  // with options_.frozen_text
};

}  // namespace rondo
