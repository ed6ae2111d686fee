#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/data/event_log.h"

namespace rondo {

enum class SplitKind : uint8_t { kRandom, kLeaveOneOut, kLastBasketOut, kGlobalTime };

/// As reports say it: "random", "leave-one-out", "last-basket-out", "global-time".
const char* name_of(SplitKind kind);

enum class Repeats : uint8_t { kDrop, kKeepUnmasked };

/// How events become training examples and held-out targets (DESIGN 8).
struct SplitOptions {
  SplitKind kind = SplitKind::kLeaveOneOut;
  double valid_fraction = 0.1;  ///< of a user's events (random) or of all events by time (global time)
  double test_fraction = 0.1;

  /// Held-out items that the user's history has: dropped and counted (the history is masked), or kept (nothing is).
  Repeats repeats = Repeats::kDrop;

  /// Users with fewer distinct items are never held out: all their events train. Not for global time, where nothing
  /// behind the cut may train.
  int64_t min_user_events = 3;

  uint64_t seed = 1;  ///< random only
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const SplitOptions& options);

/// One user of an evaluation: what the model may see and what it should find.
struct EvaluationCase {
  int64_t user = 0;              // place in EventLog
  std::vector<int64_t> history;  // event indices, oldest first; empty only under global time (a user new in the window)
  std::vector<int32_t> targets;  // places in the catalogue, distinct, ascending; never empty
  std::vector<int32_t> masked;   // places that may not be recommended (the history's items), ascending
  int64_t time = 0;              // time decay counts from here: see Split
};

/// The split of a dataset: a pure function of events and options. In order of users, as the log has them.
///
/// leave-one-out: test is a user's last event, valid the one before it. The history of valid is what trains, that of
///   test is valid as well (as in RecBole and S3-Rec). `time` is the target's. With two events only test is held out.
/// last-basket-out: a basket is a value of `EventLog::basket` (equal time when that is empty); baskets stand in order
/// of
///   their first event. Test is the last one, valid the one before it; the history is what is strictly earlier than the
///   basket. `time` is that of the basket's first event. A basket with nothing before it is not held out. Events
///   outside of both baskets that are not earlier than the first of them (baskets that overlap) do not train.
/// random: each user's events in an order drawn by seed; the first go to test, the next to valid, as many as
///   RecBole's 'RS' split by user gives (at least one each while one is left to train). History as in leave-one-out, so
///   it may be later than the target; `time` is just after its latest event.
/// global time: each cut lies between two timestamps, where it is nearest to the fraction. History is what lies before
///   the cut, also for later targets of the window; `time` is the cut. Training is what lies before the first cut.
struct Split {
  std::vector<uint8_t> is_training;       // [events]: 1 if the event may train (as target and as history of later ones)
  std::vector<int64_t> training_targets;  // event indices, ascending: the examples, `every_event`
  std::vector<EvaluationCase> valid;
  std::vector<EvaluationCase> test;

  /// Places that may be recommended, ascending; empty: the whole catalogue. Under global time an item whose first event
  /// is behind the window is not known yet; one without any event is taken as known, since the log does not say when it
  /// came. So `candidates` (of test, which ends with the log) is always the whole catalogue.
  std::vector<int32_t> candidates;
  std::vector<int32_t> valid_candidates;

  int64_t dropped_repeats = 0;           // held-out pairs already in the history, of valid and test
  int64_t users_without_history = 0;     // cases of valid and test whose history is empty, to be reported apart
  std::vector<int64_t> training_counts;  // [items], events of training per item (floors, buckets)

  std::vector<int32_t> hidden;  // places that `hide_items` withheld, ascending; empty: none
};

/// Throws DataError if a global time split finds no place to cut (too few distinct times).
/// REQUIRES: events are in order of time within a user; items are places of `catalog`.
Split make_split(const EventLog& events, const Catalog& catalog, const SplitOptions& options);

}  // namespace rondo
