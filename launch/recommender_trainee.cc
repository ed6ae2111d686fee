#include "launch/recommender_trainee.h"

#include <fmt/format.h>

#include "launch/auto_placement.h"
#include "launch/run_index.h"
#include "launch/run_setup.h"
#include "launch/text_weights.h"
#include "trainer/checkpoint/checkpoint_folder.h"

namespace rondo {
namespace {

EvaluationOutcome outcome_of(const EvaluationReport& report) {
  return {to_json_lines(report), to_table(report), std::nullopt};
}

}  // namespace

RecommenderTrainee::RecommenderTrainee(const JobOptions& job, Communicator& comm, Progress& progress)
    : job_(job),
      comm_(comm),
      data_(open_data(job.data, comm, progress)),
      recommender_(placed_model(job, data_, comm), data_, job.seed, comm),
      task_(job.train, job.examples, data_, recommender_, comm) {}

void RecommenderTrainee::start() {
  if (const TextTower* tower = recommender_.model.text_tower()) start_text_tower(job_, "text", *tower, comm_);
}

std::string RecommenderTrainee::summary() const {
  int64_t parameters = 0;
  for (const auto& parameter : recommender_.model.parameters()) parameters += parameter.value.numel();
  return fmt::format("{} users, {} items, {} events, {} tables, {} dense parameters", data_.events.users(),
                     data_.catalog.items(), data_.events.events(), recommender_.model.tables().size(), parameters);
}

EvaluationOutcome RecommenderTrainee::validate(int64_t step) {
  return outcome_of(evaluate_model(job_, data_, recommender_, comm_, {HeldOut::kValid, step}));
}

std::optional<EvaluationOutcome> RecommenderTrainee::test(const TrainOutcome& outcome, const RunFolder& run) {
  if (data_.split.test.empty()) return std::nullopt;
  const auto checkpoint = run.checkpoints() / checkpoint_name(outcome.step);
  const auto keep = index_keeper(comm_, run, checkpoint, job_, data_);
  return outcome_of(evaluate_model(job_, data_, recommender_, comm_, {HeldOut::kTest, outcome.step, keep}));
}

}  // namespace rondo
