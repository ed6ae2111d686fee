#pragma once

#include "launch/trainee.h"
#include "trainer/eval/classification_report.h"
#include "trainer/loop/classifier_data.h"
#include "trainer/loop/classifier_task.h"

namespace rondo {

/// A text classifier over a dataset of texts with classes.
class ClassifierTrainee final : public Trainee {
 public:
  ClassifierTrainee(const JobOptions& job, Communicator& comm, Progress& progress);

  TrainTask& task() override { return task_; }
  std::string summary() const override;
  std::map<std::string, std::string> texts() const override;
  void start() override;
  EvaluationOutcome validate(int64_t step) override;

  /// Of the weights that validation liked best.
  std::optional<EvaluationOutcome> test(const TrainOutcome& outcome, const RunFolder& run) override;

 private:
  const JobOptions& job_;
  Communicator& comm_;
  ClassifierData data_;
  ClassifierOptions options_;
  TextClassifier model_;
  ClassifierTask task_;
};

/// The metric of a report that selects. Throws DataError where it cannot be told: AUC with one class.
double score_of(const ClassificationReport& report, const std::string& metric);

}  // namespace rondo
