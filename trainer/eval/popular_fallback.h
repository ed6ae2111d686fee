#pragma once

#include <span>
#include <string>

#include "trainer/eval/popularity.h"
#include "trainer/eval/ranker.h"

namespace rondo {

/// A model with what is popular in its place for users without a history, of whom it knows nothing (DESIGN 6): what
/// `recommend` shows them.
class PopularFallback final : public Ranker {
 public:
  /// Keeps a reference to `model`; `data` as Popularity.
  PopularFallback(Ranker& model, const EvaluationData& data) : model_(model), popular_(data, FloorCounts::kTrain) {}

  std::string name() const override { return model_.name(); }
  std::string prepare(std::span<const EvaluationCase> cases) override { return model_.prepare(cases); }
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override;

 private:
  Ranker& model_;
  Popularity popular_;
};

}  // namespace rondo
