#include "sharding/plan/draft_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr double kRounding = 1e-9;  // relative; shorter by less is as long
constexpr double kStill = 1e-12;

std::vector<int> neighbours(int first, int count, int world) {
  std::vector<int> ranks;
  for (int i = 0; i < count; ++i) ranks.push_back((first + i) % world);
  return ranks;
}

/// The option that holds least on the fullest rank: what is left when memory is short.
size_t smallest_option(const std::vector<PlanOption>& options) {
  const auto bytes = [](const PlanOption& o) { return o.cost.every.memory_bytes() + o.cost.owner.memory_bytes(); };
  return static_cast<size_t>(std::min_element(options.begin(), options.end(),
                                              [&](const auto& a, const auto& b) { return bytes(a) < bytes(b); }) -
                             options.begin());
}

}  // namespace

bool PlanScore::better_than(const PlanScore& other) const {
  if (slowest < other.slowest * (1 - kRounding)) return true;
  return slowest <= other.slowest * (1 + kStill) && mean < other.mean * (1 - kRounding);
}

double mean_seconds(const PlanOption& option, const StepClock& clock, int world) {
  Load mean = option.cost.every;
  mean += option.cost.owner.scaled(static_cast<double>(option.cost.owners) / world);
  return clock.work(mean);
}

double mean_bytes(const PlanOption& option, int world) {
  return option.cost.every.memory_bytes() +
         option.cost.owner.memory_bytes() * static_cast<double>(option.cost.owners) / world;
}

DraftPlan::DraftPlan(const PlanRequest& request, const std::vector<std::vector<PlanOption>>& options)
    : request_(request),
      options_(options),
      setting_(setting_of(request)),
      limit_(request.profile.memory_bytes - request.dense.memory_bytes),
      chosen_(request.tables.size()),
      ranks_(static_cast<size_t>(request.world)) {}

void DraftPlan::add(size_t table, double sign) {
  const TableCost& cost = chosen_option(table).cost;
  every_ += cost.every.scaled(sign);
  if (cost.owners == 0) return;
  const Load owner = cost.owner.scaled(sign);
  for (const int rank : chosen_[table].owners) {
    ranks_[static_cast<size_t>(rank)] += owner;
    owned_ += owner;
  }
}

/// Those that the request names. Else, of the runs of neighbours 0 .. k-1, k .. 2k-1, ... (in a circle) the one whose
/// busiest rank has least to do, among those that have room for an owner's part; empty if none has.
std::vector<int> DraftPlan::owners_for(size_t table, const PlanOption& option, std::span<const double> work) const {
  const int owners = static_cast<int>(option.cost.owners);
  const double room = limit_ - option.cost.owner.memory_bytes();
  const TableRequest& request = request_.tables[table];
  if (request.spec.owner != kAnyRank && !request.allowed.empty()) {
    return neighbours(request.spec.owner, owners, request_.world);
  }
  int best = -1;
  double least = 0.0;
  for (int first = 0; first < request_.world; first += owners) {
    double busiest = 0.0;
    bool fits = true;
    for (int i = 0; i < owners; ++i) {
      const auto rank = static_cast<size_t>((first + i) % request_.world);
      fits = fits && memory_bytes(rank) <= room;
      busiest = std::max(busiest, work[rank]);
    }
    if (fits && (best < 0 || busiest < least)) best = first, least = busiest;
  }
  return best < 0 ? std::vector<int>{} : neighbours(best, owners, request_.world);
}

void DraftPlan::deal(std::span<const size_t> wanted) {
  std::vector<size_t> owned;
  for (size_t t = 0; t < wanted.size(); ++t) {
    chosen_[t] = {wanted[t], {}};
    add(t, 1.0);  // no owners yet: what every rank has of it
    if (chosen_option(t).cost.owners > 0) owned.push_back(t);
  }
  const StepClock now = clock();
  std::vector<double> length(wanted.size());
  for (const size_t t : owned) length[t] = now.work(chosen_option(t).cost.owner);
  std::stable_sort(owned.begin(), owned.end(), [&](size_t a, size_t b) { return length[a] > length[b]; });
  std::vector<double> work = rank_work(now);
  for (const size_t t : owned) {
    std::vector<int> owners = owners_for(t, chosen_option(t), work);
    add(t, -1.0);
    if (owners.empty()) {
      chosen_[t].option = smallest_option(options_[t]);
      if (chosen_option(t).cost.owners > 0) owners = owners_for(t, chosen_option(t), work);
      if (owners.empty()) {  // nowhere: it does not fit, and fits() says so
        owners = neighbours(0, static_cast<int>(chosen_option(t).cost.owners), request_.world);
      }
    }
    chosen_[t].owners = std::move(owners);
    add(t, 1.0);
    for (const int rank : chosen_[t].owners)
      work[static_cast<size_t>(rank)] = now.work(ranks_[static_cast<size_t>(rank)]);
  }
}

std::vector<double> DraftPlan::rank_work(const StepClock& clock) const {
  std::vector<double> work;
  for (const Load& load : ranks_) work.push_back(clock.work(load));
  return work;
}

DraftPlan::Chosen DraftPlan::change(size_t table, size_t option) {
  add(table, -1.0);
  Chosen before = std::exchange(chosen_[table], {option, {}});
  const PlanOption& wanted = options_[table][option];
  if (wanted.cost.owners > 0) {
    chosen_[table].owners = owners_for(table, wanted, rank_work(clock()));
    if (chosen_[table].owners.empty()) chosen_[table] = before;  // no room: nothing changes
  }
  add(table, 1.0);
  return before;
}

void DraftPlan::put_back(size_t table, Chosen chosen) {
  add(table, -1.0);
  chosen_[table] = std::move(chosen);
  add(table, 1.0);
}

StepClock DraftPlan::clock() const {
  Load mean = owned_.scaled(1.0 / request_.world);
  mean += every_;
  return {setting_, request_.dense, static_cast<int64_t>(chosen_.size()), mean};
}

Load DraftPlan::load(size_t rank) const {
  Load load = every_;
  load += ranks_[rank];
  return load;
}

double DraftPlan::memory_bytes(size_t rank) const { return every_.memory_bytes() + ranks_[rank].memory_bytes(); }

bool DraftPlan::fits() const {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (memory_bytes(rank) > limit_) return false;
  }
  return true;
}

PlanScore DraftPlan::score() const {
  const StepClock now = clock();
  PlanScore score;
  StageSeconds slowest{};
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    const Load of_rank = load(rank);
    slow_down(slowest, now.stages(of_rank));
    score.mean += now.seconds(of_rank) / request_.world;
  }
  score.slowest = now.step_seconds(slowest);
  return score;
}

size_t DraftPlan::slowest() const {
  const StepClock now = clock();
  size_t slowest = 0;
  double most = 0.0;
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    const double seconds = now.seconds(load(rank));
    if (seconds > most) slowest = rank, most = seconds;
  }
  return slowest;
}

}  // namespace rondo
