#include "trainer/optim/schedule.h"

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {

void validate(const ScheduleOptions& options) {
  if (options.warmup_steps < 0) {
    throw ConfigError(concat("schedule: warmup_steps must be 0 or more, got ", options.warmup_steps));
  }
  if (!(options.final_factor >= 0.0 && options.final_factor <= 1.0)) {
    throw ConfigError(concat("schedule: final_factor must be in [0, 1], got ", options.final_factor));
  }
}

double factor(const ScheduleOptions& options, int64_t step, int64_t total) {
  RONDO_CHECK_GE(step, 0);
  if (step < options.warmup_steps) {
    return static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  }
  if (options.shape == ScheduleShape::kConstant) return 1.0;
  if (step >= total) return options.final_factor;
  const double left = static_cast<double>(total - step) / static_cast<double>(total - options.warmup_steps);
  return options.final_factor + (1.0 - options.final_factor) * left;
}

}  // namespace rondo
