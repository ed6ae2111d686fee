#include "sharding/plan/planner.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/plan/draft_plan.h"
#include "sharding/plan/plan_refusal.h"
#include "sharding/plan/shard.h"

namespace rondo {
namespace {

/// Changes that are tried on a draft are bounded by ranks visited: a second or so.
constexpr int64_t kMostVisits = 20'000'000;
constexpr size_t kTriedAtOnce = 32;

using Options = std::vector<std::vector<PlanOption>>;
using Wanted = std::vector<size_t>;  // [tables], index of an option

/// The cheapest option of each table for the average rank, of those that `among` takes; of all, if it takes none.
template <typename Among>
Wanted cheapest(const Options& options, const StepClock& clock, int world, const Among& among) {
  Wanted wanted;
  for (const auto& of_table : options) {
    size_t best = of_table.size();
    double least = std::numeric_limits<double>::infinity();
    for (const bool restricted : {true, false}) {
      if (best < of_table.size()) break;
      for (size_t i = 0; i < of_table.size(); ++i) {
        if (restricted && !among(of_table[i].choice)) continue;
        const double seconds = mean_seconds(of_table[i], clock, world);
        if (seconds < least) best = i, least = seconds;
      }
    }
    wanted.push_back(best);
  }
  return wanted;
}

/// Exchanges options for smaller ones, those first that cost least for a byte, until the average rank has the memory.
void shrink(const Options& options, const StepClock& clock, const PlanRequest& request, double limit, Wanted& wanted) {
  struct Exchange {
    double price;  // seconds a byte
    size_t table, option;
  };
  double bytes = 0.0;
  std::vector<Exchange> exchanges;
  for (size_t t = 0; t < options.size(); ++t) {
    const double held = mean_bytes(options[t][wanted[t]], request.world);
    const double seconds = mean_seconds(options[t][wanted[t]], clock, request.world);
    bytes += held;
    for (size_t i = 0; i < options[t].size(); ++i) {
      const double saved = held - mean_bytes(options[t][i], request.world);
      if (saved <= 0.0) continue;
      exchanges.push_back({(mean_seconds(options[t][i], clock, request.world) - seconds) / saved, t, i});
    }
  }
  std::stable_sort(exchanges.begin(), exchanges.end(), [](const auto& a, const auto& b) { return a.price < b.price; });
  for (const Exchange& exchange : exchanges) {
    if (bytes <= limit) return;
    const double saved = mean_bytes(options[exchange.table][wanted[exchange.table]], request.world) -
                         mean_bytes(options[exchange.table][exchange.option], request.world);
    if (saved <= 0.0) continue;
    bytes -= saved;
    wanted[exchange.table] = exchange.option;
  }
}

/// The starts: the cheapest of all, each placement alone, each placement with one way home alone.
std::vector<Wanted> starts(const Options& options, const PlanRequest& request, double limit) {
  const StepClock rough = DraftPlan(request, options).clock();
  std::set<std::pair<Placement, WayHome>> kinds;
  for (const auto& of_table : options) {
    for (const PlanOption& option : of_table) kinds.emplace(option.choice.placement, option.choice.way_home);
  }
  const auto all = [](const TableChoice&) { return true; };
  // Rates depend on the size of messages, which depends on the choices: twice is enough.
  DraftPlan first(request, options);
  first.deal(cheapest(options, rough, request.world, all));
  const StepClock clock = first.clock();

  std::vector<Wanted> out{cheapest(options, clock, request.world, all)};
  for (const auto& [placement, way_home] : kinds) {
    const Placement only = placement;
    const WayHome home = way_home;
    out.push_back(cheapest(options, clock, request.world, [&](const TableChoice& c) { return c.placement == only; }));
    out.push_back(cheapest(options, clock, request.world,
                           [&](const TableChoice& c) { return c.placement == only && c.way_home == home; }));
  }
  std::sort(out.begin() + 1, out.end());
  out.erase(std::unique(out.begin() + 1, out.end()), out.end());
  for (size_t i = 0, before = out.size(); i < before; ++i) {
    Wanted smaller = out[i];
    shrink(options, clock, request, limit, smaller);
    if (smaller != out[i]) out.push_back(std::move(smaller));
  }
  return out;
}

/// Tries other options for a few tables at a time, those of the slowest rank first, and keeps what helps most, until
/// nothing helps or enough was tried.
class Improver {
 public:
  Improver(const PlanRequest& request, const Options& options, DraftPlan& draft)
      : options_(options), draft_(draft), visits_(kMostVisits / request.world), score_(draft.score()) {}

  void run() {
    for (size_t fruitless = 0; fruitless < options_.size() && visits_ > 0;) {
      const std::vector<size_t> tables = next_tables();
      fruitless = try_all(tables) ? 0 : fruitless + kTriedAtOnce;
    }
  }

 private:
  std::vector<size_t> next_tables() {
    std::vector<size_t> tables;
    const auto slowest = static_cast<int>(draft_.slowest());
    for (size_t t = 0; t < options_.size() && tables.size() < kTriedAtOnce; ++t) {
      const auto& owners = draft_.owners(t);
      if (std::find(owners.begin(), owners.end(), slowest) != owners.end()) tables.push_back(t);
    }
    for (size_t i = 0; i < std::min(kTriedAtOnce, options_.size()); ++i) {
      tables.push_back(turn_);
      turn_ = (turn_ + 1) % options_.size();
    }
    return tables;
  }

  bool try_all(const std::vector<size_t>& tables) {
    size_t best_table = 0, best_option = 0;
    PlanScore best = score_;
    for (const size_t table : tables) {
      for (size_t option = 0; option < options_[table].size(); ++option) {
        if (option == draft_.option(table) && draft_.owners(table).empty()) continue;
        DraftPlan::Chosen before = draft_.change(table, option);
        const PlanScore score = draft_.score();
        if (score.better_than(best) && draft_.fits()) best = score, best_table = table, best_option = option;
        draft_.put_back(table, std::move(before));
        --visits_;
      }
    }
    if (!best.better_than(score_)) return false;
    draft_.change(best_table, best_option);
    score_ = best;
    return true;
  }

  const Options& options_;
  DraftPlan& draft_;
  int64_t visits_;
  PlanScore score_;
  size_t turn_ = 0;
};

/// Why the choice is what it is, beside what else the average rank could have.
void explain(const std::vector<PlanOption>& options, const StepClock& clock, const PlanRequest& request,
             double free_bytes, TablePlan& plan) {
  const PlanOption* chosen = nullptr;
  const PlanOption* next = nullptr;
  for (const PlanOption& option : options) {
    if (option.choice == plan.placed.choice) {
      chosen = &option;
    } else if (next == nullptr ||
               mean_seconds(option, clock, request.world) < mean_seconds(*next, clock, request.world)) {
      next = &option;
    }
  }
  RONDO_CHECK(chosen != nullptr, "a choice that is no option");
  plan.seconds = mean_seconds(*chosen, clock, request.world);
  if (next == nullptr) return;
  plan.next = next->choice;
  plan.next_seconds = mean_seconds(*next, clock, request.world);
  const double more = next->cost.every.memory_bytes() + next->cost.owner.memory_bytes() -
                      chosen->cost.every.memory_bytes() - chosen->cost.owner.memory_bytes();
  plan.reason = plan.seconds <= plan.next_seconds ? PlanReason::kCheapest
                : more > free_bytes               ? PlanReason::kMemory
                                                  : PlanReason::kBalance;
}

void require(bool holds, const char* field, const char* range, int64_t value) {
  if (!holds) throw ConfigError(concat("plan: ", field, " must be ", range, ", got ", value));
}

}  // namespace

PlanOffer runtime_offer() { return {}; }

const char* to_text(PlanReason reason) {
  switch (reason) {
    case PlanReason::kCheapest:
      return "cheapest";
    case PlanReason::kBalance:
      return "for balance";
    case PlanReason::kMemory:
      return "for memory";
    case PlanReason::kOnly:
      return "no other";
  }
  throw InternalError(concat("reason ", static_cast<int>(reason), " is not known"));
}

void validate(const TableRequest& table) {
  validate(table.spec);
  validate(table.statistics, table.spec.name);
  const std::string owner = concat("table \"", table.spec.name, "\": ");
  const bool row_wise = table.allowed.empty() || std::ranges::count(table.allowed, Placement::kRowWise) > 0;
  if (table.way_home == WayHome::kSums && !table.pooled) {
    throw ConfigError(owner +
                      "way_home must be rows when the model takes the rows themselves, got sums; a table whose "
                      "rows are only summed says pooled: true");
  }
  if (!table.hot_rows) return;
  if (*table.hot_rows < 0 || *table.hot_rows > table.spec.rows) {
    throw ConfigError(concat(owner, "hot_rows must be in [0, rows = ", table.spec.rows, "], got ", *table.hot_rows));
  }
  if (*table.hot_rows > 0 && (!row_wise || !table.pooled || table.way_home == WayHome::kRows)) {
    throw ConfigError(
        concat(owner, "hot_rows must be 0 but for a pooled row_wise table with sums home, got ", *table.hot_rows));
  }
}

void validate(const PlanRequest& request) {
  require(request.world >= 1 && request.world <= (1 << 16), "world", "in [1, 65536]", request.world);
  require(request.global_batch >= 1, "global_batch", ">= 1", request.global_batch);
  require(!request.tables.empty(), "tables", "at least one", 0);
  validate(request.profile);
  for (const TableRequest& table : request.tables) {
    validate(table);
    if (!table.allowed.empty()) validate_placement(table.spec, request.world);
    if (table.spec.rows == 0) {
      throw ConfigError(concat("table \"", table.spec.name, "\": rows must be known to plan, got 0; give the table's ",
                               "`rows`, or a dataset that was ingested"));
    }
  }
}

Plan price(const PlanRequest& request, const std::vector<PlacedTable>& placed) {
  RONDO_CHECK_EQ(placed.size(), request.tables.size());
  Plan plan;
  const CostSetting setting = setting_of(request);
  plan.ranks.resize(static_cast<size_t>(request.world));
  Load mean;
  for (size_t t = 0; t < placed.size(); ++t) {
    const TableCost cost = cost_of(request.tables[t], placed[t].choice, setting);
    RONDO_CHECK_EQ(static_cast<int64_t>(placed[t].owners.size()), cost.owners, "owners of ",
                   request.tables[t].spec.name);
    for (RankPlan& rank : plan.ranks) rank.load += cost.every;
    for (const int owner : placed[t].owners) plan.ranks.at(static_cast<size_t>(owner)).load += cost.owner;
    mean += cost.every;
    mean += cost.owner.scaled(static_cast<double>(cost.owners) / request.world);
    plan.tables.push_back({.placed = placed[t]});
  }
  const StepClock clock(setting, request.dense, static_cast<int64_t>(placed.size()), mean);
  StageSeconds slowest{};
  for (const RankPlan& rank : plan.ranks) slow_down(slowest, clock.stages(rank.load));
  double seconds = 0.0, bytes = 0.0, most = 0.0;
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    RankPlan& rank = plan.ranks[r];
    rank.step = clock.parts(rank.load, clock.step_seconds(slowest));
    rank.memory_bytes = rank.load.memory_bytes() + request.dense.memory_bytes;
    const double busy = clock.seconds(rank.load);
    seconds += busy / request.world;
    bytes += rank.memory_bytes / request.world;
    if (busy > most) plan.slowest = static_cast<int>(r), most = busy;
    if (rank.memory_bytes > plan.ranks[static_cast<size_t>(plan.fullest)].memory_bytes) {
      plan.fullest = static_cast<int>(r);
    }
  }
  if (seconds > 0.0) plan.time_imbalance = most / seconds;
  if (bytes > 0.0) plan.memory_imbalance = plan.ranks[static_cast<size_t>(plan.fullest)].memory_bytes / bytes;
  return plan;
}

std::vector<TableSpec> placed_specs(const PlanRequest& request, const Plan& plan) {
  std::vector<TableSpec> specs;
  for (size_t t = 0; t < plan.tables.size(); ++t) {
    const PlacedTable& placed = plan.tables[t].placed;
    TableSpec& spec = specs.emplace_back(request.tables[t].spec);
    spec.placement = placed.choice.placement;
    spec.way_home = placed.choice.way_home;
    spec.owner = placed.owners.empty() ? kAnyRank : placed.owners.front();
    spec.column_shards = spec.placement == Placement::kColumnWise ? static_cast<int>(placed.choice.column_parts) : 0;
    const auto& popular = request.tables[t].popular_keys;
    const auto hot = std::min(static_cast<size_t>(placed.choice.hot_rows), popular.size());
    spec.hot_keys.assign(popular.begin(), popular.begin() + static_cast<int64_t>(hot));
    std::ranges::sort(spec.hot_keys);
  }
  return specs;
}

Plan make_plan(const PlanRequest& request) {
  validate(request);
  const CostSetting setting = setting_of(request);
  Options options;
  for (const TableRequest& table : request.tables) options.push_back(options_of(table, request, setting));
  DraftPlan draft(request, options);
  Wanted best;
  PlanScore best_score{std::numeric_limits<double>::infinity(), 0.0};
  Wanted closest;
  double least_bytes = std::numeric_limits<double>::infinity();
  for (const Wanted& wanted : starts(options, request, draft.limit())) {
    DraftPlan start(request, options);
    start.deal(wanted);
    double bytes = 0.0;
    for (size_t r = 0; r < static_cast<size_t>(request.world); ++r) bytes = std::max(bytes, start.memory_bytes(r));
    if (bytes < least_bytes) closest = wanted, least_bytes = bytes;
    const PlanScore score = start.score();
    if (start.fits() && score.better_than(best_score)) best = wanted, best_score = score;
  }
  const bool fits = !best.empty();
  draft.deal(fits ? best : closest);
  if (fits) Improver(request, options, draft).run();

  std::vector<PlacedTable> placed;
  for (size_t t = 0; t < options.size(); ++t) {
    placed.push_back({options[t][draft.option(t)].choice, draft.owners(t)});
  }
  Plan plan = price(request, placed);
  if (!fits) refuse_plan(request, plan);
  const double free_bytes = request.profile.memory_bytes - plan.ranks[static_cast<size_t>(plan.fullest)].memory_bytes;
  for (size_t t = 0; t < options.size(); ++t) explain(options[t], draft.clock(), request, free_bytes, plan.tables[t]);
  return plan;
}

}  // namespace rondo
