#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sharding/plan/hardware_profile.h"
#include "sharding/plan/table_spec.h"
#include "sharding/plan/table_statistics.h"

namespace rondo {

/// What one step costs and what the tables take, by arithmetic on statistics and a hardware profile (DESIGN 4).
///
/// W world; of one rank and step: n ids, d distinct among them, b bags; D distinct of the global batch; V bytes of a
/// row's values, s of a scalar, 12 of an id on the wire (key and occurrences); k owners. Bytes that one rank sends:
///
///   placement      way home   ids                rows home             gradients
///   replicated     -          12 d (W - 1)       none                  V d (W - 1)
///   row_wise       rows       12 d (W - 1) / W   (V + s) d (W - 1) / W   V d (W - 1) / W
///   row_wise       sums       12 n (W - 1) / W   V b (W - 1)           V b (W - 1)
///   table_wise     rows       as row_wise, but all of it comes to, or from, the one owner: W times as much there
///   table_wise     sums       12 n (W - 1) / W   V b (W - 1) / W        V b (W - 1) / W, W times at the owner
///   column_wise    either     k times the ids; k owners with V / k each
///
/// A rank's exchange lasts as long as what it sends or what it gets, whichever is more. (TorchRec's planner, from
/// which the table is derived, has no latencies, no distinct ids and no skew: planner/estimator/estimator.py.)
/// Work: every id is routed, every distinct key of an owner is found and its row updated once, rows are gathered once
/// for each rank that asks, ids are pooled where the sum is made. Not in it: overlap of any kind.

/// How one table may be run.
struct TableChoice {
  Placement placement = Placement::kRowWise;
  WayHome way_home = WayHome::kRows;
  int64_t column_parts = 1;  ///< column_wise: owners, each with dim / column_parts columns
  int64_t hot_rows = 0;      ///< row_wise with sums: the most popular rows that every rank holds

  bool operator==(const TableChoice&) const = default;
};

/// "row_wise, sums home, 16 hot rows".
std::string to_text(const TableChoice& choice);

/// A table to be placed.
struct TableRequest {
  TableSpec spec;  ///< its placement counts for nothing here; rows > 0
  TableStatistics statistics;
  bool pooled = false;             ///< the model takes bags only: sums may travel home
  std::vector<Placement> allowed;  ///< empty: every one that the runtime has
};

/// Bytes to and from other ranks.
struct Wire {
  double sent = 0;
  double received = 0;
};
enum WireKind : uint8_t { kIds, kRows, kGradients, kSums, kSumGradients, kWireKinds };

/// What tables do to one rank in one step, and what it holds of them. Adds up over tables.
struct Load {
  std::array<Wire, kWireKinds> wires;

  double route_seconds = 0;
  double lookup_seconds = 0;
  double pool_seconds = 0;
  double update_seconds = 0;

  double row_bytes = 0;     ///< values
  double state_bytes = 0;   ///< optimizer
  double index_bytes = 0;   ///< keys, counts, versions
  double buffer_bytes = 0;  ///< ids, rows and gradients under way

  double work_seconds() const { return route_seconds + lookup_seconds + pool_seconds + update_seconds; }
  double memory_bytes() const { return row_bytes + state_bytes + index_bytes + buffer_bytes; }
  Load& operator+=(const Load& other);
  Load& operator-=(const Load& other);
  Load scaled(double factor) const;
};

/// What a choice does to every rank, and more to each of its owners (table_wise and column_wise).
struct TableCost {
  Load every;
  Load owner;
  int64_t owners = 0;
};

/// Where the job runs.
struct CostSetting {
  const HardwareProfile& profile;
  int world = 1;
  double rank_batch = 0;  ///< examples of a rank in a step
  /// Rows, state and index of all tables together, were they spread evenly over the ranks: what shares the caches.
  double shared_table_bytes = 0.0;
};

/// Distinct ids of one rank's step and of all ranks' together: the same for every choice, and what takes time to know.
struct DistinctIdCounts {
  double of_rank = 0;
  double of_all = 0;
};
DistinctIdCounts distinct_ids(const TableRequest& table, const CostSetting& setting);

/// REQUIRES: a valid request and a choice that fits its spec.
TableCost cost_of(const TableRequest& table, const DistinctIdCounts& distinct, const TableChoice& choice,
                  const CostSetting& setting);
TableCost cost_of(const TableRequest& table, const TableChoice& choice, const CostSetting& setting);

/// Rows, state and index of a table, once.
double table_bytes(const TableRequest& table);

/// Share of the ids of the busiest rank over the mean, for sums of a row_wise table: its hottest row that is not held
/// by all stays with one rank, 1 + (W - 1) p.
double sum_imbalance(const TableRequest& table, int world, int64_t hot_rows);

/// A step's seconds by part, in the order of the step.
struct StepParts {
  double fixed = 0;      ///< once a step and once a table
  double route = 0;      ///< distinct ids, owners, rows found
  double ids = 0;        ///< counts and ids to owners
  double lookup = 0;     ///< rows gathered
  double rows = 0;       ///< rows and sums home
  double pool = 0;       ///< forward and backward
  double compute = 0;    ///< dense towers; 0 where the profile says no rate
  double gradients = 0;  ///< to owners
  double update = 0;     ///< gradients added, rows updated
  double dense = 0;      ///< dense gradients summed

  double total() const;
};

/// The dense part of the model, the same on every rank.
struct DenseWork {
  double gradient_bytes = 0;
  double memory_bytes = 0;  ///< parameters, optimizer state, activations
  double flops = 0;         ///< of a rank in a step
};

/// Turns loads into seconds. Rates of the links are those for messages of the mean rank's size.
class StepClock {
 public:
  StepClock(const CostSetting& setting, const DenseWork& dense, int64_t tables, const Load& mean);

  StepParts parts(const Load& load) const;
  double seconds(const Load& load) const;  // their total

  /// Of what adds up: seconds(load) without what every step costs.
  double work(const Load& load) const { return seconds(load) - idle_; }

 private:
  StepParts fixed_;
  double idle_ = 0;  // seconds({})
  std::array<LinearCost, kWireKinds> wires_;
};

}  // namespace rondo
