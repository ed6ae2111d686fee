#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/eval/bootstrap.h"
#include "trainer/eval/hidden_evaluation.h"
#include "trainer/eval/metrics.h"

namespace rondo {

/// What one ranker reached. Values are means over users with a history unless they say otherwise.
struct RankerResult {
  std::string name;     // "rondo", "pop", ...
  std::string counts;   // what a floor counted; empty for a model
  std::string skipped;  // why it did not rank; empty: it did, and only then the rest is set
  double seconds = 0.0;
  std::vector<double> metrics;                  // [columns]
  std::vector<double> coverage;                 // [cutoffs], items in somebody's list over candidates
  BucketHits buckets{{1}};                      // by training count of the target
  std::vector<double> metrics_without_history;  // [columns], means over the users without a history; empty: none such

  /// The first ranker minus this one, paired by user; empty for the first and without a bootstrap.
  std::vector<Interval> first_minus_this;  // [columns]
};

/// An evaluation with its protocol: whatever changes the numbers is in it (recsys_systems 6.2). The same on every rank.
struct EvaluationReport {
  int64_t step = -1;                  // of the model, set by the caller; -1: not said
  int64_t epoch = -1;                 // as step
  std::string held_out;               // "test", "valid"
  std::string split;                  // "leave-one-out", ...
  std::string history;                // "masked": no list has an item of the user's history; "unmasked"
  std::string ranking = "full";       // all candidates are ranked, none sampled
  std::string ties = "row key";       // order of equal scores, ascending
  int64_t cases = 0;                  // users with something held out
  int64_t users = 0;                  // of these evaluated and with a history
  int64_t users_without_history = 0;  // evaluated, reported apart
  int64_t targets = 0;                // held-out items of `users`
  int64_t dropped_repeats = 0;        // held-out pairs dropped from valid and test because the history has the item
  int64_t catalogue = 0;              // items
  int64_t candidates = 0;             // items that may be recommended
  uint64_t sample_seed = 0;           // which users, when fewer than `cases` were evaluated
  double confidence = 0.95;
  int64_t resamples = 0;
  MetricColumns columns{{1}};
  std::vector<RankerResult> rankers;  // the model first, then its floors

  std::optional<HiddenReport> hidden = {};  // of the model, where items were withheld from training
};

/// The lines of metrics.jsonl, one a ranker (DESIGN 11), then that of hidden items, without newlines. A line stands for
/// itself: each repeats the protocol.
std::vector<std::string> to_json_lines(const EvaluationReport& report);

/// The whole report as one JSON object: {"evaluation": [lines]}, with "hidden" where there are
/// such; for `--json`.
std::string to_json(const EvaluationReport& report);

/// Text for people: the rankers side by side, then buckets and intervals. Ends with a newline.
std::string to_table(const EvaluationReport& report);

}  // namespace rondo
