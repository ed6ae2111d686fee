#include "sharding/plan/plan_options.h"

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr int64_t kNarrowestPart = 16;  // columns: a cache line of fp32
constexpr double kEvenEnough = 1.1;     // busiest rank over mean, for sums
constexpr int64_t kMostHotRows = 4096;

/// Parts that a table's columns may be cut into: powers of two, and the world itself.
std::vector<int64_t> column_parts(int64_t dim, int world) {
  std::vector<int64_t> parts;
  const auto fits = [&](int64_t k) { return k <= world && dim % k == 0 && dim / k >= kNarrowestPart; };
  for (int64_t k = 2; k <= world; k *= 2) {
    if (fits(k)) parts.push_back(k);
  }
  if (world > 1 && fits(world) && std::find(parts.begin(), parts.end(), world) == parts.end()) parts.push_back(world);
  return parts;
}

/// The fewest of 0, 1, 2, 4, ... rows that every rank holds such that sums are even enough.
int64_t hot_rows(const TableRequest& table, int world) {
  int64_t rows = 0;
  while (rows < kMostHotRows && 2 * rows < table.spec.rows && sum_imbalance(table, world, rows) > kEvenEnough) {
    rows = std::max<int64_t>(1, 2 * rows);
  }
  return rows;
}

bool offered(Placement placement, const PlanOffer& offer) {
  return (placement != Placement::kTableWise || offer.table_wise) &&
         (placement != Placement::kColumnWise || offer.column_wise);
}

/// Columns, without a way home.
std::vector<TableChoice> cuts_of(const TableRequest& table, Placement placement, int world) {
  if (placement != Placement::kColumnWise) return {{.placement = placement}};
  std::vector<TableChoice> cuts;
  for (const int64_t parts : column_parts(table.spec.dim, world)) {
    const bool wanted = table.spec.column_shards == 0 || table.spec.column_shards == parts;
    if (wanted) cuts.push_back({.placement = placement, .column_parts = parts});
  }
  return cuts;
}

std::vector<TableChoice> choices_of(const TableRequest& table, Placement placement, const PlanRequest& request) {
  const bool rows = table.way_home != WayHome::kSums;
  const bool sums =
      table.pooled && request.offer.sums && placement != Placement::kReplicated && table.way_home != WayHome::kRows;
  std::vector<TableChoice> choices;
  for (TableChoice choice : cuts_of(table, placement, request.world)) {
    if (rows || placement == Placement::kReplicated) choices.push_back(choice);
    if (!sums) continue;
    choice.way_home = WayHome::kSums;
    const bool hot = placement == Placement::kRowWise && request.offer.hot_rows;
    if (!hot || table.hot_rows.value_or(0) == 0) choices.push_back(choice);
    if (!hot) continue;
    choice.hot_rows = std::min(table.spec.rows, table.hot_rows.value_or(hot_rows(table, request.world)));
    if (choice.hot_rows > 0) choices.push_back(choice);
  }
  return choices;
}

}  // namespace

CostSetting setting_of(const PlanRequest& request) {
  double bytes = 0.0;
  for (const TableRequest& table : request.tables) bytes += table_bytes(table);
  return {request.profile, request.world, static_cast<double>(request.global_batch) / request.world,
          bytes / request.world};
}

std::vector<PlanOption> options_of(const TableRequest& table, const PlanRequest& request, const CostSetting& setting) {
  std::vector<Placement> placements = table.allowed;
  if (placements.empty()) {
    placements = {Placement::kReplicated, Placement::kTableWise, Placement::kRowWise, Placement::kColumnWise};
  }
  const DistinctIdCounts distinct = distinct_ids(table, setting);
  std::vector<PlanOption> options;
  for (const Placement placement : placements) {
    if (!offered(placement, request.offer)) continue;
    for (const TableChoice& choice : choices_of(table, placement, request)) {
      options.push_back({choice, cost_of(table, distinct, choice, setting)});
    }
  }
  if (!options.empty()) return options;
  std::string wanted;
  for (const Placement placement : placements) wanted += concat(wanted.empty() ? "" : ", ", to_word(placement));
  throw ConfigError(concat("table \"", table.spec.name, "\": placement ", wanted, " cannot be had with dim ",
                           table.spec.dim, " on ", request.world, " ranks; row_wise and replicated always can"));
}

}  // namespace rondo
