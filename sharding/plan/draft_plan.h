#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sharding/plan/plan_options.h"

namespace rondo {

/// What a plan is judged by, in this order.
struct PlanScore {
  double slowest = 0;  ///< seconds of the step: of each stage, those of its slowest rank
  double mean = 0;     ///< of all ranks, without waiting

  /// Shorter by more than rounding, or as long with less work.
  bool better_than(const PlanScore& other) const;
};

/// A plan in the making: a choice and owners for each table, and what that adds up to on every rank.
///
/// Keeps references to `request` and `options`.
class DraftPlan {
 public:
  DraftPlan(const PlanRequest& request, const std::vector<std::vector<PlanOption>>& options);

  /// Gives every table its option (by index), owned ones to the ranks with the least work and enough memory, longest
  /// work first. A table that finds no room is spread over all ranks if it may be.
  void deal(std::span<const size_t> wanted);

  size_t option(size_t table) const { return chosen_[table].option; }
  const std::vector<int>& owners(size_t table) const { return chosen_[table].owners; }

  /// Takes another option for one table, with owners of its own choosing; what it was, to be put back.
  struct Chosen {
    size_t option = 0;
    std::vector<int> owners;
  };
  Chosen change(size_t table, size_t option);
  void put_back(size_t table, Chosen chosen);

  PlanScore score() const;
  StepClock clock() const;
  bool fits() const;
  double memory_bytes(size_t rank) const;
  Load load(size_t rank) const;
  size_t slowest() const;

  /// Bytes that one rank may have for tables.
  double limit() const { return limit_; }

 private:
  const PlanOption& chosen_option(size_t table) const { return options_[table][chosen_[table].option]; }
  void add(size_t table, double sign);
  std::vector<int> owners_for(size_t table, const PlanOption& option, std::span<const double> work) const;
  std::vector<double> rank_work(const StepClock& clock) const;  // [world], of what owners have on top

  const PlanRequest& request_;
  const std::vector<std::vector<PlanOption>>& options_;
  CostSetting setting_;
  double limit_;
  std::vector<Chosen> chosen_;  // [tables]
  Load every_;                  // on all ranks alike
  Load owned_;                  // sum of ranks_
  std::vector<Load> ranks_;     // [world], what owners have on top
};

/// Seconds and bytes of an option for the average rank.
double mean_seconds(const PlanOption& option, const StepClock& clock, int world);
double mean_bytes(const PlanOption& option, int world);

}  // namespace rondo
