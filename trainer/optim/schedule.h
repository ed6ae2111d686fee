#pragma once

#include <cstdint>

namespace rondo {

enum class ScheduleShape : uint8_t { kConstant, kLinear };

/// How the learning rate moves over a run.
struct ScheduleOptions {
  ScheduleShape shape = ScheduleShape::kLinear;

  /// Steps over which it rises in a straight line to its full value; the first step already learns.
  int64_t warmup_steps = 0;

  /// Fraction of the full value that is left at the end of the decay (kLinear).
  double final_factor = 0.0;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ScheduleOptions& options);

/// What multiplies the learning rate in `step` of `total` steps. Warm-up: (step + 1) / warmup_steps. Then 1, or
/// a straight line down: final + (1 - final) (total - step) / (total - warmup_steps), so that the first step after the
/// warm-up has 1 and `total` would have `final_factor`.
/// REQUIRES: step >= 0. From `total` on it stays at `final_factor`.
double factor(const ScheduleOptions& options, int64_t step, int64_t total);

}  // namespace rondo
