#pragma once

#include <memory>
#include <optional>

#include "sharding/comm/communicator.h"
#include "trainer/data/examples.h"
#include "trainer/loop/recommender.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/loop/train_options.h"
#include "trainer/loop/train_step.h"
#include "trainer/loop/train_task.h"

namespace rondo {

/// Retrieval: a recommender on the examples of its events.
class RecommenderTask final : public TrainTask {
 public:
  /// Keeps references.
  RecommenderTask(const TrainOptions& options, const ExampleOptions& examples, const RecommenderData& data,
                  Recommender& recommender, Communicator& comm);

  int64_t examples() const override { return examples_.size(); }
  StepResult step(DataCursor& cursor, const StepPlan& plan) override;
  CheckpointContent content() override { return checkpoint_content(recommender_, optimizer_.get()); }
  const DenseOptimizer& optimizer() const override { return *optimizer_; }

 private:
  Recommender& recommender_;
  Communicator& comm_;
  TrainingExamples examples_;
  std::unique_ptr<DenseOptimizer> optimizer_;
  TrainStep train_step_;
  bool overlap_;
  bool has_frozen_texts_ = false;
  Batch now_, next_;
  std::optional<DataCursor> next_cursor_;  // where next_ begins, when it has been read
  DataCursor after_next_;
};

}  // namespace rondo
