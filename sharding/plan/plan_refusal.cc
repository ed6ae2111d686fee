#include "sharding/plan/plan_refusal.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/number_text.h"
#include "sharding/plan/draft_plan.h"

namespace rondo {
namespace {

constexpr int kLargestWorld = 1 << 16;

std::string bytes(double count) { return bytes_text(static_cast<int64_t>(count)); }

/// Does the plan that holds least fit?
bool fits(const PlanRequest& request) {
  std::vector<std::vector<PlanOption>> options;
  std::vector<size_t> smallest;
  const CostSetting setting = setting_of(request);
  for (const TableRequest& table : request.tables) {
    options.push_back(options_of(table, request, setting));
    size_t least = 0;
    for (size_t i = 1; i < options.back().size(); ++i) {
      if (mean_bytes(options.back()[i], request.world) < mean_bytes(options.back()[least], request.world)) least = i;
    }
    smallest.push_back(least);
  }
  DraftPlan draft(request, options);
  draft.deal(smallest);
  return draft.fits();
}

/// The fewest ranks above request.world that have the memory; 0: no number of them. Found by doubling, then halving.
int smallest_world(const PlanRequest& request) {
  PlanRequest larger = request;
  const auto fits_on = [&](int world) {
    larger.world = world;
    return fits(larger);
  };
  int too_few = request.world, enough = request.world;
  do {
    if (enough >= kLargestWorld) return 0;
    too_few = enough;
    enough = std::min(kLargestWorld, 2 * enough);
  } while (!fits_on(enough));
  while (enough - too_few > 1) {
    const int middle = too_few + (enough - too_few) / 2;
    (fits_on(middle) ? enough : too_few) = middle;
  }
  return enough;
}

/// What fits on the same ranks when every table is changed by `change`; nothing if it changes nothing.
template <typename Change>
bool fits_with(PlanRequest request, const Change& change) {
  bool changed = false;
  for (TableRequest& table : request.tables) changed = change(table) || changed;
  return changed && fits(request);
}

std::string largest_tables(const PlanRequest& request, const Plan& plan) {
  std::vector<std::pair<double, size_t>> sizes;
  const CostSetting setting = setting_of(request);
  for (size_t t = 0; t < request.tables.size(); ++t) {
    const TableCost cost = cost_of(request.tables[t], plan.tables[t].placed.choice, setting);
    sizes.emplace_back(-(cost.every.memory_bytes() + cost.owner.memory_bytes()), t);
  }
  std::sort(sizes.begin(), sizes.end());
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, sizes.size()); ++i) {
    const size_t t = sizes[i].second;
    text += concat(i == 0 ? "" : ", ", "\"", request.tables[t].spec.name, "\" ", bytes(-sizes[i].first), " (",
                   to_text(plan.tables[t].placed.choice), ")");
  }
  return text;
}

std::string remedies(const PlanRequest& request) {
  std::string text;
  if (const int world = smallest_world(request); world > 0) text += concat("; ", world, " ranks fit");
  if (fits_with(request, [](TableRequest& table) {
        const bool adam = table.spec.optimizer.kind == RowOptimizerKind::kAdam;
        if (adam) table.spec.optimizer.kind = RowOptimizerKind::kRowWiseAdagrad;
        return adam;
      })) {
    text += concat("; row-wise Adagrad instead of Adam fits on ", request.world);
  }
  if (fits_with(request, [](TableRequest& table) {
        const bool wide = table.spec.row_type == RowType::kFloat64;
        if (wide) table.spec.row_type = RowType::kFloat32;
        return wide;
      })) {
    text += concat("; rows in fp32 instead of fp64 fit on ", request.world);
  }
  if (text.empty()) return "; no number of ranks fits: allow row_wise, or have more memory a rank";
  return text;
}

}  // namespace

void refuse_plan(const PlanRequest& request, const Plan& closest) {
  const RankPlan& rank = closest.ranks[static_cast<size_t>(closest.fullest)];
  const double has = request.profile.memory_bytes;
  throw ConfigError(concat("the tables do not fit: rank ", closest.fullest, " of ", request.world, " needs ",
                           bytes(rank.memory_bytes), " (rows ", bytes(rank.load.row_bytes), ", optimizer ",
                           bytes(rank.load.state_bytes), ", index ", bytes(rank.load.index_bytes), ", exchange ",
                           bytes(rank.load.buffer_bytes), ", dense ", bytes(request.dense.memory_bytes), "), has ",
                           bytes(has), ": ", bytes(rank.memory_bytes - has),
                           " too much; largest tables a rank: ", largest_tables(request, closest), remedies(request)));
}

}  // namespace rondo
