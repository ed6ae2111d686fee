#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sharding/plan/cost_model.h"

namespace rondo {

/// What the runtime can run. The planner offers nothing else.
struct PlanOffer {
  bool table_wise = true;
  bool column_wise = true;
  bool sums = true;      ///< sums may travel home
  bool hot_rows = true;  ///< rows of a row_wise table that every rank holds
};

/// What ShardedEmbedding runs today.
PlanOffer runtime_offer();

struct PlanRequest {
  std::vector<TableRequest> tables;
  int world = 1;
  int64_t global_batch = 512;  ///< examples of a step, over all ranks
  HardwareProfile profile;
  DenseWork dense;
  PlanOffer offer = runtime_offer();
};

/// Throw ConfigError naming the table or field, its value and the allowed range. Of a table alone: what holds for every
/// world.
void validate(const TableRequest& table);
void validate(const PlanRequest& request);

/// A choice with the ranks that it falls on: table_wise one, column_wise neighbours in a circle (the first has the
/// first columns), the others none.
struct PlacedTable {
  TableChoice choice;
  std::vector<int> owners = {};  ///< [column_parts], or empty
};

/// Why a table is run as it is.
enum class PlanReason : uint8_t {
  kCheapest,  ///< nothing else costs the average rank less
  kBalance,   ///< cheaper for the average rank, but not for the slowest
  kMemory,    ///< what is cheaper does not fit
  kOnly,      ///< nothing else is allowed
};
const char* to_text(PlanReason reason);

struct TablePlan {
  PlacedTable placed;
  double seconds = 0;                    ///< of the average rank, in a step
  std::optional<TableChoice> next = {};  ///< the best of the other choices ...
  double next_seconds = 0;               ///< ... and what it costs the average rank
  PlanReason reason = PlanReason::kOnly;
};

struct RankPlan {
  Load load;
  double memory_bytes = 0;  ///< with the dense part
  StepParts step;
};

struct Plan {
  std::vector<TablePlan> tables;
  std::vector<RankPlan> ranks;
  int slowest = 0;  ///< the rank that has most to do
  int fullest = 0;

  double step_seconds() const { return ranks[static_cast<size_t>(slowest)].step.total(); }

  /// Largest over mean of the ranks; of the time without waiting.
  double time_imbalance = 1;
  double memory_imbalance = 1;
};

/// Places every table such that the slowest rank is fast and every rank has the memory.
///
/// A pure function: the same on every rank and every machine. Starts from the cheapest choice of each table and from
/// every placement alone, each dealt to ranks by longest work first; the best start is improved table by table while
/// that shortens the step. So its step is never longer than that of a plan with one placement for all, dealt the same
/// way. Throws ConfigError when nothing fits: by how much, and what would fit.
Plan make_plan(const PlanRequest& request);

/// The tables of `request` as the plan places them: what ShardedEmbedding is given. Hot rows are those of the popular
/// keys, as far as the request names any.
std::vector<TableSpec> placed_specs(const PlanRequest& request, const Plan& plan);

/// What a given placement costs; fits or not. REQUIRES: owners in [0, world).
Plan price(const PlanRequest& request, const std::vector<PlacedTable>& placed);

}  // namespace rondo
