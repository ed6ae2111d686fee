#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sharding/comm/communicator.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/data/examples.h"
#include "trainer/loop/recommender.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/loop/train_options.h"
#include "trainer/loop/train_step.h"

namespace rondo {

/// Where training stands after a step, for whoever shows or logs it.
struct StepReport {
  int64_t step = 0;  // from 1
  int64_t total_steps = 0;
  int64_t epoch = 0;
  int64_t examples = 0;  // of the global batch
  double learning_rate_factor = 0;
  StepResult result;
};

/// What the loop asks of its surroundings. Empty functions are not called.
struct TrainHooks {
  std::function<bool()> stop_requested;                 // this rank's wish: any rank, every step
  std::function<void(const StepReport&)> on_step;       // every rank, every step
  std::function<void(int64_t step)> evaluate;           // every rank, every TrainOptions::evaluate_steps
  std::function<void(Phase phase, int64_t step)> beat;  // before each phase: the watchdog

  /// Every rank, when a checkpoint on the way could not be written.
  std::function<void(int64_t step, const std::string& why)> on_failed_save;
};

/// How a training ended.
struct TrainOutcome {
  int64_t step = 0;
  bool stopped = false;  // on request; the state is saved
};

/// Trains from where it stands to the last step: batches, steps, refreshes of text vectors, checkpoints, evaluations.
/// What it does in a step depends on the step's number and the options alone, so that a resumed run does the same.
class TrainLoop {
 public:
  /// Keeps references. `writer` may be null: nothing is saved. `texts` and `job_digest` go into checkpoints.
  TrainLoop(const TrainOptions& options, const ExampleOptions& examples, const RecommenderData& data,
            Recommender& recommender, Communicator& comm);

  void save_into(CheckpointWriter* writer, std::map<std::string, std::string> texts, std::string job_digest);

  /// Restores everything from a checkpoint. Collective.
  void resume(const CheckpointReader& reader);

  int64_t total_steps() const { return total_steps_; }
  int64_t step() const { return step_; }
  const DenseOptimizer& optimizer() const { return *optimizer_; }

  /// A checkpoint on the way that cannot be written is warned of, and the next one is another try; the last one, at the
  /// end or on request, must succeed: throws StorageError. Collective.
  TrainOutcome run(const TrainHooks& hooks);

 private:
  bool is_due(int64_t every) const { return every > 0 && step_ % every == 0; }
  StepResult run_step(const TrainHooks& hooks);
  void save(const TrainHooks& hooks);
  bool try_save(const TrainHooks& hooks);
  CheckpointContent content();

  TrainOptions options_;
  Recommender& recommender_;
  Communicator& comm_;
  TrainingExamples examples_;
  std::unique_ptr<DenseOptimizer> optimizer_;
  TrainStep train_step_;
  CheckpointWriter* writer_ = nullptr;
  std::map<std::string, std::string> texts_;
  std::string job_digest_;
  int64_t total_steps_ = 0;
  int64_t step_ = 0;
  DataCursor cursor_;
};

}  // namespace rondo
