#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/data/event_log.h"
#include "trainer/data/split.h"

namespace rondo {

struct ExampleOptions {
  int64_t history_max = 50;        ///< latest events strictly before the target
  bool history_same_time = false;  ///< events at the target's own time are history too
  bool last_only = false;          ///< one example a user: its last training event
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ExampleOptions& options);

/// Where training stands in the data: what resume needs to repeat nothing and skip nothing, on any world size.
struct DataCursor {
  int64_t epoch = 0;
  int64_t next = 0;  // examples of this epoch already used
};

/// The training examples of a split, in an order that is a pure function of (seed, epoch, index).
class TrainingExamples {
 public:
  /// Keeps references to `events` and `split`. Targets without a history are no examples. Throws DataError when none is
  /// left.
  TrainingExamples(const EventLog& events, const Split& split, const ExampleOptions& options, uint64_t seed);

  int64_t size() const;

  /// This rank's share of the global batch at `cursor`, which moves on: rank r takes [g * r / world, g * (r + 1) /
  /// world) of its g examples. The last batch of an epoch may be smaller, and a share empty; all ranks see the same
  /// cursor.
  Batch next(DataCursor& cursor, int64_t global_batch, int rank, int world) const;

 private:
  bool is_history_of(int64_t event, int64_t target) const;
  bool has_history(int64_t target) const;
  void append(int64_t target, Batch& batch) const;

  const EventLog& events_;
  const Split& split_;
  ExampleOptions options_;
  uint64_t seed_;
  std::vector<int64_t> targets_;  // event indices
};

/// The input of evaluation cases: same history rule, no targets.
Batch make_inputs(const EventLog& events, std::span<const EvaluationCase> cases, const ExampleOptions& options);

}  // namespace rondo
