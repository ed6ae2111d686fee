#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sharding/embedding/sharded_embedding.h"
#include "sharding/plan/table_spec.h"
#include "trainer/text/text_tower.h"

namespace rondo {

/// Item vector v = sum_j beta_j h_j over the features that are present, betas renormalised (DESIGN 6).
struct ItemVectorOptions {
  double id_beta = 1.0;        ///< weight of the id embedding; 0: no id table
  double bag_beta = 1.0;       ///< weight of each categorical feature
  double text_beta = 1.0;      ///< weight of the text tower's vector; 0: no text
  bool normalize_text = true;  ///< the text vector has length 1 before it is mixed
  double id_dropout =
      0.1;  ///< probability that a target's id is absent in a training step; trains what serves new items
};

enum class HistoryWeight : uint8_t {
  kMean,           ///< alpha uniform
  kTimeDecay,      ///< alpha = behaviour weight * 0.5^(age in days / half life)
  kPositionDecay,  ///< alpha = behaviour weight * 0.5^(events since / half life): for sources that know order only
};

/// User vector u = sum_i alpha_i h_i over the history, alphas scaled to sum 1.
struct UserVectorOptions {
  HistoryWeight weight = HistoryWeight::kMean;
  double half_life_days = 30.0;           ///< kTimeDecay
  double half_life_events = 5.0;          ///< kPositionDecay
  std::vector<double> behaviour_weights;  ///< by behaviour index of the dataset; missing: 1
  bool history_text = false;              ///< h_i carries the item's text from the text-vector table
};

enum class InteractionKind : uint8_t { kCosine, kDot };

/// Score of a user and an item: cosine / temperature, or dot / temperature.
struct InteractionOptions {
  InteractionKind kind = InteractionKind::kCosine;
  double temperature = 0.1;
};

/// In-batch softmax over the global batch (recsys_systems 8.1 to 8.4).
struct SoftmaxLossOptions {
  bool logq = true;  ///< subtract log p of every column, the positive's included
  double minimum_probability = 1e-6;
  bool mask_duplicates = true;  ///< other examples' targets that are the same item are no negatives
  bool mask_positives = true;   ///< nor are other items of the user's training events
};

/// Where a table lies, by its name.
struct NamedPlacement {
  std::string table;
  Placement placement = Placement::kRowWise;
  int owner = kAnyRank;
  int column_shards = 0;
};

/// A two-tower retrieval model over a catalogue.
struct ModelOptions {
  int64_t dim = 64;  ///< width of item and user vectors
  ItemVectorOptions item;
  UserVectorOptions user;
  InteractionOptions interaction;
  SoftmaxLossOptions loss;
  TextTowerOptions text;                        ///< used when item.text_beta > 0; output_size is set to dim
  int64_t max_tokens = 32;                      ///< longest text the tower reads
  int64_t text_refresh_steps = 200;             ///< text-vector table: steps between refreshes
  bool frozen_text = false;                     ///< the text encoder stays as it starts; each text is encoded once
  TableSpec item_table;                         ///< name and dim are set by the model
  TableSpec bag_table;                          ///< template of every categorical feature's table
  std::vector<NamedPlacement> placements = {};  ///< what a plan decided for single tables; counts before their specs
  ShardedEmbeddingOptions embedding;            ///< of all tables together
  at::ScalarType dtype = at::kFloat;            ///< of rows and parameters; kDouble for tests
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ModelOptions& options);

}  // namespace rondo
