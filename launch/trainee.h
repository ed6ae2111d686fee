#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/job_options.h"
#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/loop/train_loop.h"
#include "trainer/loop/train_task.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {

/// What an evaluation says, the same on every rank.
struct EvaluationOutcome {
  std::vector<std::string> json_lines;  // for metrics.jsonl
  std::string table;                    // for people
  std::optional<double> score;          // that selects; the higher the better
};

/// What `rondo train` trains: data and model of a job in memory, and the task that the loop drives. One class for each
/// kind of task.
class Trainee {
 public:
  virtual ~Trainee() = default;

  virtual TrainTask& task() = 0;

  /// What it is, on one line.
  virtual std::string summary() const = 0;

  /// Small files that go into checkpoints beside the job.
  virtual std::map<std::string, std::string> texts() const = 0;

  /// Fills in what the model starts from; called unless training goes on from a checkpoint. Collective.
  virtual void start() {}

  /// Makes what the first step needs and a checkpoint may lack, whether training begins or goes on; `step` are done.
  /// May take long. Collective.
  virtual void prepare(int64_t /*step*/) {}

  /// On valid. Collective.
  virtual EvaluationOutcome validate(int64_t step) = 0;

  /// On test, at the end of a training that was not stopped; none where nothing is held out. Collective.
  virtual std::optional<EvaluationOutcome> test(const TrainOutcome& outcome, const RunFolder& run) = 0;
};

/// For the task of the job. Keeps references. Collective.
std::unique_ptr<Trainee> make_trainee(const JobOptions& job, Communicator& comm, Progress& progress);

}  // namespace rondo
