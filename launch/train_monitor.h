#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/job_options.h"
#include "launch/trainee.h"
#include "sharding/base/stopwatch.h"
#include "trainer/loop/train_loop.h"
#include "trainer/telemetry/metrics_log.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {

/// What a person sees of a training: rank 0 shows and logs, the other ranks are silent.
class TrainMonitor {
 public:
  TrainMonitor(const JobOptions& job, const RunFolder& run, Communicator& comm);

  /// For the stages before the first step.
  Progress* progress() { return progress_.get(); }

  /// `what` is trained, on one line.
  void begin(const std::string& what, const TrainLoop& loop);
  void on_step(const StepReport& report);
  void on_failed_save(int64_t step, const std::string& why);
  void on_evaluation(const EvaluationOutcome& findings);
  void end(const TrainOutcome& outcome);

 private:
  void write_interval(const StepReport& report);

  const JobOptions& job_;
  RunFolder run_;
  bool shows_;
  std::unique_ptr<Progress> progress_;
  std::optional<MetricsLog> metrics_;
  Stopwatch since_interval_;
  int64_t interval_steps_ = 0;
  int64_t interval_examples_ = 0;
  double interval_loss_ = 0;
  std::vector<NamedValue> interval_phases_;  // sums over the steps of the interval
  std::vector<NamedValue> interval_figures_;
};

}  // namespace rondo
