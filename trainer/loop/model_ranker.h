#pragma once

#include <memory>
#include <span>
#include <string>

#include "sharding/comm/communicator.h"
#include "trainer/data/event_log.h"
#include "trainer/data/examples.h"
#include "trainer/eval/item_index.h"
#include "trainer/eval/ranker.h"
#include "trainer/eval/top_k.h"
#include "trainer/loop/recommender.h"

namespace rondo {

/// The model as a Ranker. `prepare` refreshes text vectors and computes the vectors of all items once, each rank a part
/// of the catalogue.
class ModelRanker final : public Ranker {
 public:
  /// Keeps references. `step`: of the weights, for the age of text vectors. `candidates`: ascending places that may be
  /// recommended; empty: all.
  ModelRanker(Recommender& recommender, const RecommenderData& data, const ExampleOptions& examples, Communicator& comm,
              int64_t step, std::span<const int32_t> candidates = {});

  std::string name() const override { return "rondo"; }
  std::string prepare(std::span<const EvaluationCase> cases) override;
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override;

  /// From here on ranks among these, without computing anything anew; as in the constructor. REQUIRES: prepared.
  void offer(std::span<const int32_t> candidates);

  /// The vectors of the whole catalogue, as `prepare` left them; the stamp is the caller's to set.
  ItemIndex& index() { return index_; }

 private:
  ItemVectors item_vectors(std::span<const int32_t> places);
  at::Tensor user_vectors(std::span<const EvaluationCase> cases);

  Recommender& recommender_;
  const RecommenderData& data_;
  ExampleOptions examples_;
  Communicator& comm_;
  int64_t step_;
  std::span<const int32_t> candidates_;
  ItemIndex index_;
  ItemShard candidate_shard_;  // of the index, where only some may be recommended
  std::unique_ptr<ShardedTopK> search_;
};

}  // namespace rondo
