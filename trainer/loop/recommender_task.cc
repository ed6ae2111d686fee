#include "trainer/loop/recommender_task.h"

namespace rondo {

RecommenderTask::RecommenderTask(const TrainOptions& options, const ExampleOptions& examples,
                                 const RecommenderData& data, Recommender& recommender, Communicator& comm)
    : recommender_(recommender),
      comm_(comm),
      examples_(data.events, data.split, examples, recommender.seed),
      optimizer_(make_dense_optimizer(options, recommender.model.parameters())),
      train_step_(recommender.model, recommender.embedding, *optimizer_, comm, recommender.seed) {}

StepResult RecommenderTask::step(DataCursor& cursor, const StepPlan& plan) {
  if ((plan.step - 1) % recommender_.model.options().text_refresh_steps == 0) {
    recommender_.model.refresh_text_vectors(recommender_.embedding, {recommender_.seed, plan.step, false});
  }
  return train_step_.run(examples_.next(cursor, plan.global_batch, comm_.rank(), comm_.size()), plan);
}

}  // namespace rondo
