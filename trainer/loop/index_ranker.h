#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>

#include "sharding/comm/communicator.h"
#include "trainer/data/event_log.h"
#include "trainer/data/examples.h"
#include "trainer/eval/item_index.h"
#include "trainer/eval/ranker.h"
#include "trainer/eval/top_k.h"
#include "trainer/model/model_options.h"

namespace rondo {

/// Ranks by a stored item index alone: no weights, no tokens, no catalogue. A user vector is the weighted sum of what
/// the history's items add to it, so the lists are those of the model that the index was made from, up to rounding.
class IndexRanker final : public Ranker {
 public:
  /// Keeps references to the first three. REQUIRES: the places in `events` are those of the index; `model` is that of
  /// the index.
  IndexRanker(Communicator& comm, const ItemIndex& index, const EventLog& events, const ModelOptions& model,
              const ExampleOptions& examples);

  std::string name() const override { return "rondo"; }
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override;

  /// u float32 [cases, dim] of this rank's cases; zero where the model knows nothing of a history. Collective.
  at::Tensor user_vectors(std::span<const EvaluationCase> cases);

 private:
  Communicator& comm_;
  const ItemIndex& index_;
  const EventLog& events_;
  ModelOptions model_;
  ExampleOptions examples_;
  ShardedTopK search_;
};

}  // namespace rondo
