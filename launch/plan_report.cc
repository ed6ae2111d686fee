#include "launch/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "sharding/base/number_text.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShownTables = 40;
constexpr size_t kShownRanks = 16;

Json parts_json(const StepParts& parts) {
  return {{"fixed", parts.fixed * 1e3},     {"route", parts.route * 1e3},
          {"ids", parts.ids * 1e3},         {"lookup", parts.lookup * 1e3},
          {"rows", parts.rows * 1e3},       {"pool", parts.pool * 1e3},
          {"compute", parts.compute * 1e3}, {"gradients", parts.gradients * 1e3},
          {"update", parts.update * 1e3},   {"dense", parts.dense * 1e3},
          {"wait", parts.wait * 1e3}};
}

Json memory_json(const PlanRequest& request, const RankPlan& rank) {
  return {{"total", rank.memory_bytes},         {"rows", rank.load.row_bytes},
          {"optimizer", rank.load.state_bytes}, {"index", rank.load.index_bytes},
          {"exchange", rank.load.buffer_bytes}, {"dense", request.dense.memory_bytes}};
}

Json table_json(const TableRequest& table, const TablePlan& plan) {
  const TableChoice& choice = plan.placed.choice;
  Json out{{"name", table.spec.name},
           {"rows", table.spec.rows},
           {"dim", table.spec.dim},
           {"placement", to_word(choice.placement)},
           {"way_home", choice.way_home == WayHome::kSums ? "sums" : "rows"},
           {"hot_rows", choice.hot_rows},
           {"owners", plan.placed.owners},
           {"ms", plan.seconds * 1e3},
           {"reason", to_text(plan.reason)}};
  if (plan.next) {
    out["next_best"] = to_text(*plan.next);
    out["next_best_ms"] = plan.next_seconds * 1e3;
  }
  return out;
}

/// Tables that only some ranks have, by rank.
std::vector<std::vector<size_t>> owned_by_rank(const PlanRequest& request, const Plan& plan) {
  std::vector<std::vector<size_t>> owned(static_cast<size_t>(request.world));
  for (size_t t = 0; t < plan.tables.size(); ++t) {
    for (const int rank : plan.tables[t].placed.owners) owned[static_cast<size_t>(rank)].push_back(t);
  }
  return owned;
}

double wire_bytes(const Load& load) {
  double bytes = 0.0;
  for (const Wire& wire : load.wires) bytes += wire.sent;
  return bytes;
}

Json wire_json(const Load& load) {
  Json out;
  for (uint8_t kind = 0; kind < kWireKinds; ++kind) {
    out[to_text(static_cast<WireKind>(kind))] = load.wires[kind].sent;
  }
  return out;
}

std::string bytes(double count) { return bytes_text(static_cast<int64_t>(count)); }

std::string parts_line(const Json& parts) {
  std::string line;
  for (const auto& [name, value] : parts.items()) {
    const auto number = value.get<double>();
    if (number > 0.0) line += fmt::format("{}{} {:.3f}", line.empty() ? "" : ", ", name, number);
  }
  return line;
}

/// Every kind of choice with the number of tables that have it.
std::string summary(const Plan& plan) {
  std::map<std::string, int64_t> counts;
  for (const TablePlan& table : plan.tables) ++counts[to_text(table.placed.choice)];
  std::string line;
  for (const auto& [choice, count] : counts) line += fmt::format("{}{} {}", line.empty() ? "" : ", ", count, choice);
  return line;
}

std::string owners_text(const std::vector<int>& owners) {
  if (owners.empty()) return "all";
  return owners.size() == 1 ? fmt::format("{}", owners[0]) : fmt::format("{}+{}", owners[0], owners.size() - 1);
}

/// Tables that are alike in all but their names and owners, or ranks that hold and do the same, shown once.
template <typename Alike>
std::vector<std::vector<size_t>> groups(size_t count, const Alike& alike) {
  std::vector<std::vector<size_t>> out;
  for (size_t i = 0; i < count; ++i) {
    if (!out.empty() && alike(out.back().front(), i)) {
      out.back().push_back(i);
    } else {
      out.push_back({i});
    }
  }
  return out;
}

void write_tables(const PlanRequest& request, const Plan& plan, std::string& out) {
  auto order = groups(plan.tables.size(), [&](size_t a, size_t b) {
    const TableSpec &x = request.tables[a].spec, &y = request.tables[b].spec;
    return x.rows == y.rows && x.dim == y.dim && plan.tables[a].placed.choice == plan.tables[b].placed.choice &&
           plan.tables[a].seconds == plan.tables[b].seconds;
  });
  const size_t lines = order.size();
  if (lines > kShownTables) {  // the costly ones
    std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
      return plan.tables[a[0]].seconds > plan.tables[b[0]].seconds;
    });
    order.resize(kShownTables);
  }
  auto to = std::back_inserter(out);
  fmt::format_to(to, "\n{:<24} {:>15} {:>5} {:<26} {:>6} {:>10}  {:<12} {}\n", "table", "rows", "dim", "choice",
                 "ranks", "ms a rank", "because", "next best (ms a rank)");
  for (const auto& alike : order) {
    const TablePlan& table = plan.tables[alike[0]];
    const TableSpec& spec = request.tables[alike[0]].spec;
    const std::string name =
        alike.size() == 1 ? spec.name : fmt::format("{} and {} alike", spec.name, alike.size() - 1);
    const std::string owners = alike.size() == 1 || table.placed.owners.empty() ? owners_text(table.placed.owners) : "";
    const std::string next =
        table.next ? fmt::format("{} ({:.3f})", to_text(*table.next), table.next_seconds * 1e3) : "-";
    fmt::format_to(to, "{:<24} {:>15} {:>5} {:<26} {:>6} {:>10.3f}  {:<12} {}\n", name, with_thousands(spec.rows),
                   spec.dim, to_text(table.placed.choice), owners, table.seconds * 1e3, to_text(table.reason), next);
  }
  if (lines > kShownTables) fmt::format_to(to, "... and {} lines that cost less\n", lines - kShownTables);
}

void write_ranks(const PlanRequest& request, const Plan& plan, std::string& out) {
  auto to = std::back_inserter(out);
  const auto owned = owned_by_rank(request, plan);
  const auto order = groups(plan.ranks.size(), [&](size_t a, size_t b) {
    return owned[a].empty() && owned[b].empty() && plan.ranks[a].memory_bytes == plan.ranks[b].memory_bytes &&
           plan.ranks[a].step.total() == plan.ranks[b].step.total();
  });
  fmt::format_to(to, "\n{:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9}  {}\n", "rank", "memory", "rows",
                 "optimizer", "index", "exchange", "sent", "ms", "tables of its own");
  for (size_t line = 0; line < std::min(order.size(), kShownRanks); ++line) {
    const size_t r = order[line].front();
    const RankPlan& rank = plan.ranks[r];
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(owned[r].size(), 4); ++i) {
      names += (i == 0 ? "" : " ") + request.tables[owned[r][i]].spec.name;
    }
    if (owned[r].size() > 4) names += fmt::format(" and {} more", owned[r].size() - 4);
    const std::string label =
        order[line].size() == 1 ? fmt::format("{}", r) : fmt::format("{} to {}", r, order[line].back());
    fmt::format_to(to, "{:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9.3f}  {}\n", label,
                   bytes(rank.memory_bytes), bytes(rank.load.row_bytes), bytes(rank.load.state_bytes),
                   bytes(rank.load.index_bytes), bytes(rank.load.buffer_bytes), bytes(wire_bytes(rank.load)),
                   rank.step.total() * 1e3, names);
  }
  if (order.size() > kShownRanks) {
    fmt::format_to(to, "... and {} more ranks\n", plan.ranks.size() - order[kShownRanks].front());
  }
}

}  // namespace

Json plan_json(const PlanRequest& request, const Plan& plan) {
  const RankPlan& slowest = plan.ranks[static_cast<size_t>(plan.slowest)];
  const RankPlan& fullest = plan.ranks[static_cast<size_t>(plan.fullest)];
  Json out{{"world", request.world},
           {"profile", request.profile.name},
           {"knows_across_nodes", request.profile.knows_across},
           {"global_batch", request.global_batch},
           {"step_ms", plan.step_seconds() * 1e3},
           {"step_parts_ms", parts_json(slowest.step)},
           {"slowest_rank", plan.slowest},
           {"time_imbalance", plan.time_imbalance},
           {"memory_bytes", memory_json(request, fullest)},
           {"memory_limit_bytes", request.profile.memory_bytes},
           {"fullest_rank", plan.fullest},
           {"memory_imbalance", plan.memory_imbalance},
           {"tables", Json::array()},
           {"ranks", Json::array()}};
  for (size_t t = 0; t < plan.tables.size(); ++t)
    out["tables"].push_back(table_json(request.tables[t], plan.tables[t]));
  const auto owned = owned_by_rank(request, plan);
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    Json names = Json::array();
    for (const size_t t : owned[r]) names.push_back(request.tables[t].spec.name);
    out["ranks"].push_back({{"rank", r},
                            {"memory_bytes", memory_json(request, plan.ranks[r])},
                            {"sent_bytes", wire_bytes(plan.ranks[r].load)},
                            {"sent_bytes_by_kind", wire_json(plan.ranks[r].load)},
                            {"step_ms", plan.ranks[r].step.total() * 1e3},
                            {"tables", names}});
  }
  return out;
}

std::string plan_text(const PlanRequest& request, const Plan& plan) {
  const RankPlan& slowest = plan.ranks[static_cast<size_t>(plan.slowest)];
  const RankPlan& fullest = plan.ranks[static_cast<size_t>(plan.fullest)];
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{} tables on {} ranks of \"{}\", {} examples a step: {}\n", plan.tables.size(), request.world,
                 request.profile.name, with_thousands(request.global_batch), summary(plan));
  if (request.world > request.profile.ranks_per_node && !request.profile.knows_across) {
    fmt::format_to(to, "the profile knows no costs across nodes: those within one of {} ranks are taken\n",
                   request.profile.ranks_per_node);
  }
  fmt::format_to(to, "step    {:.3f} ms, {} examples/s; slowest rank {}, {:.2f} times the mean\n",
                 plan.step_seconds() * 1e3,
                 with_thousands(static_cast<int64_t>(static_cast<double>(request.global_batch) / plan.step_seconds())),
                 plan.slowest, plan.time_imbalance);
  fmt::format_to(to, "        {} (ms)\n", parts_line(parts_json(slowest.step)));
  fmt::format_to(to, "memory  {} of {} on the fullest rank {}, {:.2f} times the mean\n", bytes(fullest.memory_bytes),
                 bytes(request.profile.memory_bytes), plan.fullest, plan.memory_imbalance);
  fmt::format_to(to, "        rows {}, optimizer {}, index {}, exchange {}, dense {}\n", bytes(fullest.load.row_bytes),
                 bytes(fullest.load.state_bytes), bytes(fullest.load.index_bytes), bytes(fullest.load.buffer_bytes),
                 bytes(request.dense.memory_bytes));
  write_tables(request, plan, out);
  write_ranks(request, plan, out);
  return out;
}

}  // namespace rondo
