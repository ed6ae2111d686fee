#pragma once

#include "sharding/plan/planner.h"

namespace rondo {

/// Throws ConfigError for tables that do not fit: which rank lacks how much, what takes it, and what would fit (more
/// ranks, a smaller optimizer, a smaller type). `closest` is the plan that came closest.
[[noreturn]] void refuse_plan(const PlanRequest& request, const Plan& closest);

}  // namespace rondo
