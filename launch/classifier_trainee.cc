#include "launch/classifier_trainee.h"

#include <fmt/format.h>

#include <algorithm>

#include "launch/classifier_setup.h"
#include "launch/text_weights.h"
#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/loop/classifier_evaluation.h"

namespace rondo {

double score_of(const ClassificationReport& report, const std::string& metric) {
  const auto metrics = named_metrics(report.model);
  const auto found = std::ranges::find(metrics, metric, [](const auto& named) { return std::string(named.first); });
  if (found != metrics.end()) return found->second;
  throw DataError(concat("task.classification.select_by is ", metric, ", which the ", report.examples,
                         " validation examples of ", report.label_names.size(),
                         " classes have not: it takes two classes that both occur"));
}

ClassifierTrainee::ClassifierTrainee(const JobOptions& job, Communicator& comm, Progress& progress)
    : job_(job),
      comm_(comm),
      data_(open_classifier_data(job.data, comm, progress)),
      options_(classifier_for(job, data_)),
      model_(options_.model, job.seed),
      task_(job.train, options_, data_, model_, job.seed, comm) {}

std::string ClassifierTrainee::summary() const {
  int64_t parameters = 0;
  for (const auto& parameter : model_.parameters()) parameters += parameter.value.numel();
  return fmt::format("{} texts to train, {} to validate, {} to test, {} classes, {} parameters",
                     data_.split.train.size(), data_.split.valid.size(), data_.split.test.size(),
                     data_.examples.classes(), parameters);
}

std::map<std::string, std::string> ClassifierTrainee::texts() const { return classifier_texts(data_); }

void ClassifierTrainee::start() { start_text_tower(job_, "text", model_.tower(), comm_); }

EvaluationOutcome ClassifierTrainee::validate(int64_t step) {
  if (data_.split.valid.empty()) return {};
  const ClassificationReport report = evaluate_classifier(model_, data_, HeldOut::kValid, step, comm_);
  return {{to_json(report)}, to_table(report), score_of(report, job_.classification.select_by)};
}

std::optional<EvaluationOutcome> ClassifierTrainee::test(const TrainOutcome& outcome, const RunFolder& run) {
  int64_t step = outcome.step;
  if (outcome.best_step > 0 && outcome.best_step != outcome.step) {
    if (comm_.rank() == 0) log_info(concat("testing the weights of step ", outcome.best_step, ", the best on valid"));
    step = load_weights(CheckpointReader::open(run.checkpoints() / checkpoint_name(outcome.best_step), comm_), model_);
  }
  if (data_.split.test.empty()) return std::nullopt;
  const ClassificationReport report = evaluate_classifier(model_, data_, HeldOut::kTest, step, comm_);
  return EvaluationOutcome{{to_json(report)}, to_table(report), std::nullopt};
}

}  // namespace rondo
