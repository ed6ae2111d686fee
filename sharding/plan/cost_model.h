#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sharding/plan/hardware_profile.h"
#include "sharding/plan/table_spec.h"
#include "sharding/plan/table_statistics.h"

namespace rondo {

/// What one step costs and what the tables take, by arithmetic on statistics and a hardware profile (DESIGN 4).
///
/// W world; of one rank and step: n ids, d distinct among them, b bags; D distinct of the global batch; V bytes of a
/// row's values, s of a scalar; k owners; I what the asker says of its ids (id_bytes: 12 a distinct key with rows
/// home). Bytes that one rank sends, on average:
///
///   placement      way home   ids            rows or sums home                gradients
///   replicated     -          I (W - 1)      none                             V d (W - 1)
///   row_wise       rows       I (W - 1) / W  (V + s) d (W - 1) / W            V d (W - 1) / W
///   row_wise       sums       I (W - 1) / W  V b (W - 1)                      V b (W - 1)
///   table_wise     rows       as row_wise, but all of it comes to, or from, the one owner: W times as much there
///   table_wise     sums       I (W - 1) / W  V b (W - 1) / W                  V b (W - 1) / W, W times at the owner
///   column_wise    either     k times the ids; k owners with V / k each; the count s comes with the first columns, and
///                             each owner tells the others s D of squared gradients if rows have state as a whole
///
/// Hot rows of a row_wise table are as replicated ones. A rank's exchange lasts as long as what it sends or what it
/// gets, whichever is more. (TorchRec's planner, from which the table is derived, has no latencies, no distinct ids and
/// no skew: planner/estimator/estimator.py.)
/// Work: every id is routed, every distinct key of an owner is found and its row updated once, rows are gathered once
/// for each rank that asks, ids are pooled where the sum is made. An exchange ends when the slowest rank has come to
/// it, so a step is the sum over its stages of the slowest rank's. Not in it: overlap of any kind.

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
  bool pooled = false;                      ///< the model takes bags only: sums may travel home
  std::optional<WayHome> way_home = {};     ///< the only one that is allowed; none: every one
  std::optional<int64_t> hot_rows = {};     ///< as many, if the table is row_wise with sums; none: as even sums take
  std::vector<uint64_t> popular_keys = {};  ///< the most popular first: which rows are hot ones
  std::vector<Placement> allowed;           ///< empty: every one that the runtime has
};

/// Bytes to and from other ranks.
struct Wire {
  double sent = 0;
  double received = 0;
};
enum WireKind : uint8_t { kIds, kBagEntries, kRows, kSums, kGradients, kSumGradients, kSquares, kWireKinds };
const char* to_text(WireKind kind);

/// Work of a rank by what it is; "asker": who has the ids, "owner": who holds the rows.
enum WorkKind : uint8_t {
  kRouting,    ///< asker: ids to owners
  kFinding,    ///< owner: keys heard, rows found
  kGathering,  ///< owner: rows and sums into messages
  kSumming,    ///< owner: bags summed where the rows are
  kTaking,     ///< asker: rows and sums out of messages, gradients into them
  kPooling,    ///< asker: rows pooled, gradients of bags back to rows
  kUpdating,   ///< owner: gradients added, rows updated
  kWorks
};

/// What tables do to one rank in one step, and what it holds of them. Adds up over tables.
struct Load {
  std::array<Wire, kWireKinds> wires;
  std::array<double, kWorks> work{};  ///< seconds

  double row_bytes = 0;     ///< values
  double state_bytes = 0;   ///< optimizer
  double index_bytes = 0;   ///< keys, counts, versions
  double buffer_bytes = 0;  ///< ids, rows and gradients under way

  double work_seconds() const;
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

/// Bytes with which one rank tells the owners of a table what it wants of them.
struct IdBytes {
  double keys = 0;     ///< ShardedEmbedding::Traffic::id_bytes
  double entries = 0;  ///< bag_entry_bytes
};

/// What it wants: `ids` ids, `distinct` of them different, of `owners` ranks that hear of all `bags` each.
struct AskedIdCounts {
  double ids = 0, distinct = 0, bags = 0, owners = 0;
  bool beside_hot = false;  ///< the table has hot rows; these are not counted here
};

/// The one place that knows the format. With rows home a distinct key travels in 8 bytes with 4 of occurrences. With
/// sums home every id travels as it is, in 4 bytes of a dense table of at most 2^32 rows, else in 8, and each owner is
/// told the number of bags, that of counted ids and the length of each bag in words of 4; beside hot rows it is the
/// distinct keys, a word for each id, and the number and the lengths.
IdBytes id_bytes(const TableSpec& spec, WayHome way_home, const AskedIdCounts& asked);

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
  double gradients = 0;  ///< to owners, and column_wise their squares among these
  double update = 0;     ///< gradients added, rows updated
  double dense = 0;      ///< dense gradients summed
  double wait = 0;       ///< for the slowest rank of each stage

  double total() const;
};

/// The dense part of the model, the same on every rank.
struct DenseWork {
  double gradient_bytes = 0;
  double memory_bytes = 0;  ///< parameters, optimizer state, activations
  double flops = 0;         ///< of a rank in a step
};

/// Seconds of the stages of a step that end together on all ranks: work, then an exchange, three times over, and the
/// squared gradients of column_wise tables.
inline constexpr size_t kStages = 7;
using StageSeconds = std::array<double, kStages>;

/// Turns loads into seconds. Rates of the links are those for messages of the mean rank's size.
class StepClock {
 public:
  StepClock(const CostSetting& setting, const DenseWork& dense, int64_t tables, const Load& mean);

  /// What a rank has to do, without waiting for others.
  double seconds(const Load& load) const;
  StageSeconds stages(const Load& load) const;

  /// The step of ranks of which the slowest takes so long for each stage.
  double step_seconds(const StageSeconds& slowest) const;

  /// The step of a rank in it.
  StepParts parts(const Load& load, double step_seconds) const;

  /// Of what adds up: seconds(load) without what every step costs.
  double work(const Load& load) const { return seconds(load) - idle_; }

 private:
  StepParts fixed_;
  double idle_ = 0;                  // seconds({})
  std::array<LinearCost, 4> wires_;  // of the exchanges
};

/// Takes the slower of each stage.
void slow_down(StageSeconds& slowest, const StageSeconds& other);

}  // namespace rondo
