#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/data/event_log.h"

namespace rondo {

enum class SplitKind : uint8_t { kRandom, kLeaveOneOut, kLastBasketOut, kGlobalTime };
enum class Repeats : uint8_t { kDrop, kKeepUnmasked };

/// How events become training examples and held-out targets (DESIGN 8).
struct SplitOptions {
  SplitKind kind = SplitKind::kLeaveOneOut;
  double valid_fraction = 0.1;  ///< random and global time
  double test_fraction = 0.1;
  Repeats repeats = Repeats::kDrop;
  int64_t min_user_events =
      3;  ///< users with fewer distinct items are not held out (all their events train); not for global time
  uint64_t seed = 1;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const SplitOptions& options);

/// One user of an evaluation: what the model may see and what it should find.
struct EvaluationCase {
  int64_t user = 0;              // place in EventLog
  std::vector<int64_t> history;  // event indices, oldest first
  std::vector<int32_t> targets;  // places in the catalogue, distinct, ascending
  std::vector<int32_t> masked;   // places that may not be recommended (the history's items), ascending
  int64_t time = 0;              // time decay counts from here
};

/// The split of a dataset: a pure function of events and options. Candidates are the whole catalogue: an item known by
/// the window's end is in it, and the log does not say when an item without events became known.
struct Split {
  std::vector<uint8_t> is_training;       // [events]: 1 if the event may train (as target and as history of later ones)
  std::vector<int64_t> training_targets;  // event indices, ascending: the examples, `every_event`
  std::vector<EvaluationCase> valid;
  std::vector<EvaluationCase> test;
  std::vector<int32_t> candidates;  // places that may be recommended; empty: the whole catalogue
  int64_t dropped_repeats = 0;      // held-out pairs already in the history
  int64_t users_without_history = 0;
  std::vector<int64_t> training_counts;  // [items], events of training per item (floors, buckets)
};

Split make_split(const EventLog& events, const Catalog& catalog, const SplitOptions& options);

}  // namespace rondo
