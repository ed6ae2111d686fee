#pragma once

#include "launch/trainee.h"
#include "trainer/eval/evaluation_report.h"
#include "trainer/loop/recommender.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/loop/recommender_task.h"

namespace rondo {

/// A recommender over the dataset of a shop.
class RecommenderTrainee final : public Trainee {
 public:
  RecommenderTrainee(const JobOptions& job, Communicator& comm, Progress& progress);

  TrainTask& task() override { return task_; }
  std::string summary() const override;
  std::map<std::string, std::string> texts() const override { return {{kTokenizerFile, data_.tokenizer}}; }
  void start() override;
  void prepare(int64_t step) override;
  EvaluationOutcome validate(int64_t step) override;

  /// Leaves the item index in the run.
  std::optional<EvaluationOutcome> test(const TrainOutcome& outcome, const RunFolder& run) override;

 private:
  const JobOptions& job_;
  Communicator& comm_;
  RecommenderData data_;
  Recommender recommender_;
  RecommenderTask task_;
};

}  // namespace rondo
