#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/eval/evaluation_data.h"
#include "trainer/eval/ranker.h"

namespace rondo {

/// The floor "pop": the items with the most counts that the user has not had; ties by row key, ascending. Every item is
/// in the order, also one that was never counted. Under leave-one-out this is the published floor (recsys_systems 7.3).
class Popularity final : public Ranker {
 public:
  /// Copies what it needs.
  Popularity(const EvaluationData& data, FloorCounts counts);

  std::string name() const override { return "pop"; }
  std::string counts() const override { return name_of(counts_); }
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override;

 private:
  FloorCounts counts_;
  std::vector<int32_t> order_;  // candidates, best first
  std::vector<float> scores_;   // as order_
};

}  // namespace rondo
