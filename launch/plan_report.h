#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "sharding/plan/planner.h"

namespace rondo {

/// A plan as one object: step and its parts, memory of the fullest rank and its parts, imbalance, every table with its
/// choice, its owners and the next best, every rank.
nlohmann::ordered_json plan_json(const PlanRequest& request, const Plan& plan);

/// For people: the same, ranks and tables shortened to what fits a screen. Ends with a newline.
std::string plan_text(const PlanRequest& request, const Plan& plan);

}  // namespace rondo
