#include "trainer/loop/train_options.h"

#include <cmath>

#include "sharding/base/check.h"
#include "trainer/optim/sgd.h"

namespace rondo {
namespace {

void require_at_least(int64_t lowest, int64_t value, const char* field) {
  if (value < lowest) throw ConfigError(concat(field, " must be ", lowest, " or more, got ", value));
}

}  // namespace

void validate(const TrainOptions& options) {
  require_at_least(0, options.steps, "steps");
  if (options.steps == 0 && !(options.epochs > 0.0 && options.epochs <= 1e6)) {
    throw ConfigError(concat("epochs must be above 0 and at most 1e6 when steps is 0, got ", options.epochs));
  }
  require_at_least(1, options.global_batch, "global_batch");
  validate(options.schedule);
  validate(options.adam_w);
  if (!(options.clip_norm >= 0.0)) throw ConfigError(concat("clip_norm must be 0 or more, got ", options.clip_norm));
  require_at_least(1, options.log_steps, "log_steps");
  require_at_least(0, options.checkpoint_steps, "checkpoint_steps");
  require_at_least(1, options.keep_checkpoints, "keep_checkpoints");
  require_at_least(0, options.evaluate_steps, "evaluate_steps");
  require_at_least(0, options.evaluate_epochs, "evaluate_epochs");
  require_at_least(0, options.patience, "patience");
}

std::unique_ptr<DenseOptimizer> make_dense_optimizer(const TrainOptions& options, ParameterList parameters) {
  if (options.dense_optimizer == DenseOptimizerKind::kAdamW) {
    return std::make_unique<AdamW>(std::move(parameters), options.adam_w);
  }
  const SgdOptions sgd{options.adam_w.learning_rate, options.adam_w.weight_decay};
  return std::make_unique<Sgd>(std::move(parameters), sgd);
}

int64_t total_steps(const TrainOptions& options, int64_t examples) {
  if (options.steps > 0) return options.steps;
  const int64_t per_epoch = (examples + options.global_batch - 1) / options.global_batch;
  return static_cast<int64_t>(std::ceil(options.epochs * static_cast<double>(per_epoch)));
}

}  // namespace rondo
