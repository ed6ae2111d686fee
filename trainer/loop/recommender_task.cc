#include "trainer/loop/recommender_task.h"

#include <utility>

#include "sharding/base/check.h"

namespace rondo {

RecommenderTask::RecommenderTask(const TrainOptions& options, const ExampleOptions& examples,
                                 const RecommenderData& data, Recommender& recommender, Communicator& comm)
    : recommender_(recommender),
      comm_(comm),
      examples_(data.events, data.split, examples, recommender.seed),
      optimizer_(make_dense_optimizer(options, recommender.model.learning_parameters())),
      train_step_(recommender.model, recommender.embedding, *optimizer_, comm,
                  {.seed = recommender.seed, .gradients = options.gradients}),
      overlap_(options.overlap_exchange) {}

StepResult RecommenderTask::step(DataCursor& cursor, const StepPlan& plan) {
  const ModelOptions& options = recommender_.model.options();
  const bool due = (plan.step - 1) % options.text_refresh_steps == 0;
  if (options.frozen_text ? !std::exchange(has_frozen_texts_, true) : due) {
    recommender_.model.refresh_text_vectors(recommender_.embedding, {recommender_.seed, plan.step, false});
  }
  const auto read = [&](DataCursor& from) {
    return examples_.next(from, plan.global_batch, comm_.rank(), comm_.size());
  };
  if (!next_cursor_) {
    now_ = read(cursor);
  } else {
    RONDO_CHECK(*std::exchange(next_cursor_, std::nullopt) == cursor, "the batch read ahead is not the next one");
    now_ = std::move(next_);
    cursor = after_next_;
  }
  if (!overlap_ || plan.last) return train_step_.run(now_, nullptr, plan);
  next_cursor_ = after_next_ = cursor;
  next_ = read(after_next_);
  return train_step_.run(now_, &next_, plan);
}

}  // namespace rondo
