#include "launch/recommender_trainee.h"

#include <fmt/format.h>

#include <numeric>

#include "launch/auto_placement.h"
#include "launch/run_index.h"
#include "launch/run_setup.h"
#include "launch/text_weights.h"
#include "sharding/base/log.h"
#include "sharding/base/stopwatch.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/eval/gather.h"

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

void RecommenderTrainee::prepare(int64_t step) {
  if (!job_.model.frozen_text) return;
  const Stopwatch watch;
  comm_.set_phase(Phase::kEvaluation);
  const int64_t mine =
      recommender_.model.refresh_text_vectors(recommender_.embedding, {recommender_.seed, step + 1, false});
  const auto all = gather_values(comm_, std::span(&mine, 1), "texts encoded once");
  comm_.set_phase(Phase::kStart);
  if (comm_.rank() != 0) return;
  log_info(fmt::format("{} texts encoded once, {:.1f} s on rank 0; {} numbers kept of each, on the rank of its row",
                       std::accumulate(all.begin(), all.end(), int64_t{0}), watch.seconds(),
                       job_.model.text.hidden_size));
}

std::string RecommenderTrainee::summary() const {
  const auto count = [](const ParameterList& parameters) {
    int64_t numbers = 0;
    for (const auto& parameter : parameters) numbers += parameter.value.numel();
    return numbers;
  };
  const int64_t all = count(recommender_.model.parameters()), learn = count(recommender_.model.learning_parameters());
  return fmt::format("{} users, {} items, {} events, {} tables, {} dense parameters{}", data_.events.users(),
                     data_.catalog.items(), data_.events.events(), recommender_.model.tables().size(), all,
                     learn == all ? "" : fmt::format(", {} of them learn", learn));
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
