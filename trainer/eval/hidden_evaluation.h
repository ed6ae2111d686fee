#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/eval/bootstrap.h"
#include "trainer/eval/evaluation_data.h"
#include "trainer/eval/ranker.h"

namespace rondo {

/// Recall of hidden items among some candidates. Means over users; entry i is for the i-th cutoff.
struct HiddenRecall {
  std::string among;  // "hidden", "all"
  int64_t candidates = 0;
  std::vector<double> recall;
  std::vector<double> random;  // what a random order is expected to find: K / candidates that the user has not had

  /// Recall over random, both means from the same resamples of users. Without a bootstrap the ends are the middle.
  std::vector<Interval> times_random;
};

/// How a model recommends items that were withheld from its training (`Split::hidden`), to users with a history who
/// took some of them in the held-out part.
struct HiddenReport {
  int64_t step = -1;     // of the model
  std::string held_out;  // "test", "valid"
  int64_t hidden = 0;    // items
  int64_t users = 0;
  int64_t targets = 0;  // hidden ones of these users
  std::vector<int64_t> k;
  double confidence = 0.95;
  int64_t resamples = 0;
  std::vector<HiddenRecall> recalls;
};

/// The cases of `data` with a history and hidden targets; their targets are those alone.
std::vector<EvaluationCase> hidden_cases(const EvaluationData& data);

/// The hidden places among the candidates of `data`.
std::vector<int32_t> hidden_candidates(const EvaluationData& data);

/// Recall of `cases` (the same on every rank, at least one), which `ranker` ranks among `candidates`: ascending places,
/// those that it was prepared for. The ranks share the cases out; the result is the same on every rank and for every
/// world. Sets all but the name. Collective.
HiddenRecall measure_hidden(Communicator& comm, Ranker& ranker, std::span<const EvaluationCase> cases,
                            std::span<const int32_t> candidates, std::span<const int64_t> k,
                            const BootstrapOptions& bootstrap);

/// One JSON object: {"event": "eval_hidden", "step": ..., "split": "test", "model": "rondo", "hidden": ..., "users":
/// ..., "targets": ..., "among_hidden": {"candidates": ..., "recall@20": {"recall": ..., "random": ..., "times_random":
/// ..., "low": ..., "high": ...}}, "among_all": {...}}.
std::string to_json(const HiddenReport& report);

/// For people. Ends with a newline.
std::string to_table(const HiddenReport& report);

}  // namespace rondo
