#pragma once

#include <vector>

#include "sharding/plan/planner.h"

namespace rondo {

/// One way to run a table, and what it costs.
struct PlanOption {
  TableChoice choice;
  TableCost cost;
};

/// All that a table may be: allowed by its request, offered by the runtime, sensible for its width. Never empty.
/// Throws ConfigError naming table and placements when nothing is left.
std::vector<PlanOption> options_of(const TableRequest& table, const PlanRequest& request, const CostSetting& setting);

/// Goes over all tables; refers to request.profile.
CostSetting setting_of(const PlanRequest& request);

}  // namespace rondo
