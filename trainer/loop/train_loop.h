#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "sharding/comm/communicator.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/loop/train_options.h"
#include "trainer/loop/train_task.h"
#include "trainer/loop/validation_state.h"

namespace rondo {

/// Where training stands after a step, for whoever shows or logs it.
struct StepReport {
  int64_t step = 0;  // from 1
  int64_t total_steps = 0;
  int64_t epoch = 0;
  double learning_rate_factor = 0;
  StepResult result;
};

/// What the loop asks of its surroundings. Empty functions are not called.
struct TrainHooks {
  std::function<bool()> stop_requested;                 // this rank's wish: any rank, every step
  std::function<void(const StepReport&)> on_step;       // every rank, every step
  std::function<void(Phase phase, int64_t step)> beat;  // before each phase: the watchdog

  /// Every rank, when TrainOptions say so. A score selects: the higher the better, the same on every rank.
  std::function<std::optional<double>(int64_t step)> evaluate;

  /// Every rank, when a checkpoint on the way could not be written.
  std::function<void(int64_t step, const std::string& why)> on_failed_save;
};

/// How a training ended.
struct TrainOutcome {
  int64_t step = 0;
  bool stopped = false;          // on request; the state is saved
  bool out_of_patience = false;  // validation no longer improved
  int64_t best_step = 0;         // of validation, whose checkpoint is kept; 0: nothing was selected
};

/// Trains from where it stands to the last step: steps, checkpoints, evaluations; with patience, until validation no
/// longer improves. What it does in a step depends on the step's number, the options and what validation said, all of
/// which checkpoints hold, so that a resumed run does the same.
class TrainLoop {
 public:
  /// Keeps references.
  TrainLoop(const TrainOptions& options, TrainTask& task, Communicator& comm);

  /// `writer` may be null: nothing is saved, nothing selected. `texts` and `job_digest` go into checkpoints.
  void save_into(CheckpointWriter* writer, std::map<std::string, std::string> texts, std::string job_digest);

  /// Restores everything from a checkpoint. Collective.
  void resume(const CheckpointReader& reader);

  int64_t total_steps() const { return total_steps_; }
  int64_t step() const { return step_; }

  /// A checkpoint on the way that cannot be written is warned of, and the next one is another try; the last one, at the
  /// end or on request, must succeed: throws StorageError. Collective.
  TrainOutcome run(const TrainHooks& hooks);

 private:
  bool is_due(int64_t every) const { return every > 0 && step_ % every == 0; }
  bool is_evaluation_due(const TrainHooks& hooks) const;
  bool is_out_of_patience() const { return options_.patience > 0 && validation_.since_best >= options_.patience; }
  StepResult run_step(const TrainHooks& hooks);
  void evaluate(const TrainHooks& hooks);
  void select(double score, const TrainHooks& hooks);
  void save(const TrainHooks& hooks);
  bool try_save(const TrainHooks& hooks);
  CheckpointContent content();

  TrainOptions options_;
  TrainTask& task_;
  Communicator& comm_;
  CheckpointWriter* writer_ = nullptr;
  std::map<std::string, std::string> texts_;
  std::string job_digest_;
  int64_t total_steps_ = 0;
  int64_t step_ = 0;
  int64_t saved_step_ = 0;  // of the newest checkpoint
  DataCursor cursor_;
  ValidationState validation_;
};

}  // namespace rondo
