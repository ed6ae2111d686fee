#include "trainer/loop/train_loop.h"

#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/log.h"

namespace rondo {

TrainLoop::TrainLoop(const TrainOptions& options, const ExampleOptions& examples, const RecommenderData& data,
                     Recommender& recommender, Communicator& comm)
    : options_(options),
      recommender_(recommender),
      comm_(comm),
      examples_(data.events, data.split, examples, recommender.seed),
      optimizer_(make_dense_optimizer(options, recommender.model.parameters())),
      train_step_(recommender.model, recommender.embedding, *optimizer_, comm, recommender.seed),
      total_steps_(rondo::total_steps(options, examples_.size())) {}

void TrainLoop::save_into(CheckpointWriter* writer, std::map<std::string, std::string> texts, std::string job_digest) {
  writer_ = writer;
  texts_ = std::move(texts);
  job_digest_ = std::move(job_digest);
}

CheckpointContent TrainLoop::content() {
  CheckpointContent content = checkpoint_content(recommender_, optimizer_.get());
  content.step = step_;
  content.cursor = cursor_;
  content.job_digest = job_digest_;
  content.texts = texts_;
  return content;
}

void TrainLoop::resume(const CheckpointReader& reader) {
  CheckpointContent state = content();
  reader.load(state);
  step_ = state.step;
  cursor_ = state.cursor;
}

void TrainLoop::save(const TrainHooks& hooks) {
  if (hooks.beat) hooks.beat(Phase::kCheckpoint, step_);
  writer_->write(content());
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
  if ((step - 1) % recommender_.model.options().text_refresh_steps == 0) {
    recommender_.model.refresh_text_vectors(recommender_.embedding, {recommender_.seed, step, false});
  }
  const int64_t epoch = cursor_.epoch;
  const Batch batch = examples_.next(cursor_, options_.global_batch, comm_.rank(), comm_.size());
  const double learning_rate = factor(options_.schedule, step - 1, total_steps_);
  const bool stop = hooks.stop_requested && hooks.stop_requested();
  const StepResult result = train_step_.run(batch, {step, learning_rate, options_.clip_norm}, stop);
  step_ = step;
  if (hooks.on_step) hooks.on_step({step, total_steps_, epoch, batch.global_size, learning_rate, result});
  return result;
}

TrainOutcome TrainLoop::run(const TrainHooks& hooks) {
  comm_.set_phase(Phase::kStep);
  int64_t saved = step_;
  bool stopped = false;
  while (step_ < total_steps_ && !stopped) {
    stopped = run_step(hooks).stop;
    if (hooks.evaluate && is_due(options_.evaluate_steps) && step_ < total_steps_) {
      if (hooks.beat) hooks.beat(Phase::kEvaluation, step_);
      comm_.set_phase(Phase::kEvaluation);
      hooks.evaluate(step_);
      comm_.set_phase(Phase::kStep);
    }
    const bool goes_on = step_ < total_steps_ && !stopped;
    if (writer_ != nullptr && goes_on && is_due(options_.checkpoint_steps) && try_save(hooks)) saved = step_;
  }
  if (writer_ != nullptr && saved != step_) save(hooks);
  return {step_, stopped && step_ < total_steps_};
}

}  // namespace rondo
