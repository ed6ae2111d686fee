#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/eval/evaluation_data.h"
#include "trainer/eval/evaluation_report.h"
#include "trainer/eval/item_knn.h"
#include "trainer/eval/ranker.h"
#include "trainer/eval/top_k.h"

namespace rondo {

struct EvaluationOptions {
  std::vector<int64_t> k{5, 10, 20};  ///< cutoffs of the metrics, ascending
  int64_t max_users = 0;              ///< users evaluated, sampled by seed; 0: all
  uint64_t seed = 1;                  ///< of that sample
  bool floors = true;                 ///< show Pop and ItemKNN beside the model

  /// What the floors count. Train and valid is for test only (else it would be told what is held out): on valid they
  /// count what trains.
  FloorCounts floor_counts = FloorCounts::kTrain;

  ItemKnnOptions item_knn{};
  BootstrapOptions bootstrap{};
  TopKOptions top_k{};  ///< for the rankers that search an index
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const EvaluationOptions& options);

/// The floors that `options` ask for: Pop, then ItemKNN. They refer to what `data` refers to.
std::vector<std::unique_ptr<Ranker>> make_floors(Communicator& comm, const EvaluationData& data,
                                                 const EvaluationOptions& options);

/// The cases of `data` to evaluate, in their order: all, or the `max_users` whose user keys draw the smallest numbers
/// of CounterRandom(seed, 0, kSample).
std::vector<EvaluationCase> sample_cases(const EvaluationData& data, const EvaluationOptions& options);

/// Lets each of `rankers` rank the held-out users, shared out over ranks in contiguous ranges, and measures the lists.
/// The first is the model: the others are compared with it. The report is the same on every rank and for every world.
/// Collective; the phase of `comm` is the caller's.
EvaluationReport evaluate(Communicator& comm, std::span<Ranker* const> rankers, const EvaluationData& data,
                          const EvaluationOptions& options);

}  // namespace rondo
