#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/data/event_log.h"
#include "trainer/data/example_order.h"
#include "trainer/data/split.h"

namespace rondo {

struct ExampleOptions {
  int64_t history_max = 50;        ///< latest training events strictly before the target; items seen may be targets
  bool history_same_time = false;  ///< events at the target's own time, but earlier in the log, are history too
  bool last_only = false;          ///< one example a user: its last training event
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ExampleOptions& options);

/// The training examples of a split, in an order that is a pure function of (seed, epoch, index). Targets without a
/// history are no examples: there is no user vector to learn from. Any number of threads may call `next`.
class TrainingExamples {
 public:
  /// Keeps references to `events` and `split`. Throws ConfigError (options), DataError if no example is left.
  TrainingExamples(const EventLog& events, const Split& split, const ExampleOptions& options, uint64_t seed);

  int64_t size() const { return static_cast<int64_t>(targets_.size()); }

  /// This rank's share of the global batch at `cursor`, which moves on, behind the last example to {epoch + 1, 0}: rank
  /// r takes [g * r / world, g * (r + 1) / world) of its g examples. The last batch of an epoch may be smaller, and a
  /// share empty; all ranks see the same cursor.
  Batch next(DataCursor& cursor, int64_t global_batch, int rank, int world) const;

 private:
  void find_targets(std::span<const int64_t> training);
  void find_positives(std::span<const int64_t> training);
  void append_inputs(int64_t target, int64_t user, Batch& batch) const;

  const EventLog& events_;
  const Split& split_;
  ExampleOptions options_;
  uint64_t seed_;
  std::vector<int64_t> targets_;           // event indices, ascending
  std::vector<int64_t> positive_offsets_;  // [users + 1]
  std::vector<int32_t> positives_;         // of each user, ascending, distinct
};

/// The input of evaluation cases: the same rule with the case's time and history in place of the target's, so that of
/// the history the latest events strictly before `time` (all, under `history_same_time`). Targets are -1, `examples`
/// are positions in `cases`, there are no positives.
Batch make_inputs(const EventLog& events, std::span<const EvaluationCase> cases, const ExampleOptions& options);

}  // namespace rondo
