#include "trainer/loop/train_loop.h"

#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/log.h"

namespace rondo {

TrainLoop::TrainLoop(const TrainOptions& options, TrainTask& task, Communicator& comm)
    : options_(options), task_(task), comm_(comm), total_steps_(rondo::total_steps(options, task.examples())) {}

void TrainLoop::save_into(CheckpointWriter* writer, std::map<std::string, std::string> texts, std::string job_digest) {
  writer_ = writer;
  texts_ = std::move(texts);
  job_digest_ = std::move(job_digest);
}

CheckpointContent TrainLoop::content() {
  CheckpointContent content = task_.content();
  content.step = step_;
  content.cursor = cursor_;
  content.job_digest = job_digest_;
  content.texts = texts_;
  if (validation_.best_step > 0) content.texts[kValidationFile] = to_text(validation_);
  return content;
}

void TrainLoop::resume(const CheckpointReader& reader) {
  CheckpointContent state = content();
  reader.load(state);
  step_ = saved_step_ = state.step;
  cursor_ = state.cursor;
  if (reader.manifest().file(kValidationFile) == nullptr) return;
  validation_ = parse_validation_state(reader.text(kValidationFile), (reader.folder() / kValidationFile).string());
  if (writer_ != nullptr) writer_->hold(validation_.best_step);
}

void TrainLoop::save(const TrainHooks& hooks) {
  if (hooks.beat) hooks.beat(Phase::kCheckpoint, step_);
  writer_->write(content());
  saved_step_ = step_;
}

/// Of a checkpoint on the way: the writer leaves nothing of one that failed, on all ranks, so training goes on and the
/// next one is another try.
bool TrainLoop::try_save(const TrainHooks& hooks) {
  try {
    save(hooks);
    return true;
  } catch (const StorageError& error) {
    if (comm_.rank() == 0) log_warning(concat("no checkpoint at step ", step_, ", training goes on: ", error.what()));
    if (hooks.on_failed_save) hooks.on_failed_save(step_, error.what());
    return false;
  }
}

StepResult TrainLoop::run_step(const TrainHooks& hooks) {
  const int64_t step = step_ + 1;
  if (hooks.beat) hooks.beat(Phase::kStep, step);
  const int64_t epoch = cursor_.epoch;
  const double learning_rate = factor(options_.schedule, step - 1, total_steps_);
  const bool stop = hooks.stop_requested && hooks.stop_requested();
  const StepResult result = task_.step(cursor_, {.step = step,
                                                 .learning_rate_factor = learning_rate,
                                                 .clip_norm = options_.clip_norm,
                                                 .global_batch = options_.global_batch,
                                                 .stop = stop,
                                                 .last = step == total_steps_});
  step_ = step;
  if (hooks.on_step) hooks.on_step({step, total_steps_, epoch, learning_rate, result});
  return result;
}

/// After the last step a selecting run evaluates once more, whatever is due: the last weights may be the best.
bool TrainLoop::is_evaluation_due(const TrainHooks& hooks) const {
  if (!hooks.evaluate) return false;
  if (step_ == total_steps_) return options_.keep_best;
  const bool ends_epochs =
      options_.evaluate_epochs > 0 && cursor_.next == 0 && cursor_.epoch % options_.evaluate_epochs == 0;
  return ends_epochs || is_due(options_.evaluate_steps);
}

void TrainLoop::evaluate(const TrainHooks& hooks) {
  if (hooks.beat) hooks.beat(Phase::kEvaluation, step_);
  comm_.set_phase(Phase::kEvaluation);
  const std::optional<double> score = hooks.evaluate(step_);
  comm_.set_phase(Phase::kStep);
  if (score && writer_ != nullptr && options_.keep_best) select(*score, hooks);
}

/// The best weights are those of a checkpoint: where none can be written, nothing is better.
void TrainLoop::select(double score, const TrainHooks& hooks) {
  const ValidationState before = validation_;
  ++validation_.since_best;
  if (!before.is_better(score)) return;
  validation_ = {step_, score, 0};
  writer_->hold(step_);
  if (try_save(hooks)) return;
  validation_ = {before.best_step, before.best_score, before.since_best + 1};
  writer_->hold(before.best_step);
}

TrainOutcome TrainLoop::run(const TrainHooks& hooks) {
  comm_.set_phase(Phase::kStep);
  bool stopped = false;
  while (step_ < total_steps_ && !stopped && !is_out_of_patience()) {
    stopped = run_step(hooks).stop;
    if (is_evaluation_due(hooks)) evaluate(hooks);
    const bool goes_on = step_ < total_steps_ && !stopped && !is_out_of_patience();
    if (writer_ != nullptr && goes_on && saved_step_ != step_ && is_due(options_.checkpoint_steps)) try_save(hooks);
  }
  if (writer_ != nullptr && saved_step_ != step_) save(hooks);
  const bool out_of_patience = step_ < total_steps_ && is_out_of_patience();
  return {step_, stopped && step_ < total_steps_ && !out_of_patience, out_of_patience, validation_.best_step};
}

}  // namespace rondo
