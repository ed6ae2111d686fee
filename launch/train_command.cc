#include <cstdio>
#include <memory>
#include <optional>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_index.h"
#include "launch/run_setup.h"
#include "launch/stop_signal.h"
#include "launch/train_monitor.h"
#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/run_lock.h"
#include "trainer/loop/train_loop.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

/// Runs `work` on rank 0; all ranks throw if it fails.
void on_rank_0(Communicator& comm, const char* what, const std::function<void()>& work) {
  std::exception_ptr failure;
  if (comm.rank() == 0) {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  agree(comm, failure, what);
}

/// One rank of a training, from the folder to the final table.
class Training {
 public:
  Training(const JobOptions& job, RunFolder& run, bool resume, RankProcess& process)
      : job_(job), run_(run), resume_(resume), process_(process), comm_(process.comm) {}

  TrainOutcome run() {
    comm_.set_phase(Phase::kStart);
    require_same_job(comm_, job_);
    open_folder();
    const RecommenderData data = open_data(job_.data, comm_, *monitor_->progress());
    Recommender recommender(model_for(job_, data), data, job_.seed, comm_);
    TrainLoop loop(job_.train, job_.examples, data, recommender, comm_);
    const auto files = make_posix_file_system();
    CheckpointWriter writer(run_.checkpoints(), *files, comm_, {job_.train.keep_checkpoints});
    loop.save_into(&writer, {{"job.textproto", job_.text}, {"vocab.txt", data.vocabulary_text}}, job_.digest);
    if (resume_) resume(loop);
    // Not before: a checkpoint may refuse this job, and then the folder still says what it holds.
    on_rank_0(comm_, "job", [&] { make_posix_file_system()->replace_file(run_.job(), job_.text); });
    monitor_->begin(data, recommender, loop);

    TrainHooks hooks;
    hooks.stop_requested = stop_requested;
    hooks.beat = process_.beat;
    hooks.on_step = [&](const StepReport& report) { monitor_->on_step(report); };
    hooks.evaluate = [&](int64_t step) {
      monitor_->on_evaluation(evaluate_model(job_, data, recommender, comm_, {HeldOut::kValid, step}));
    };
    const TrainOutcome outcome = loop.run(hooks);
    monitor_->end(outcome);
    if (!outcome.stopped && !data.split.test.empty()) {
      process_.beat(Phase::kEvaluation, outcome.step);
      const auto checkpoint = run_.checkpoints() / checkpoint_name(outcome.step);
      monitor_->on_evaluation(
          evaluate_model(job_, data, recommender, comm_,
                         {HeldOut::kTest, outcome.step, index_keeper(comm_, run_, checkpoint, job_, data)}));
    }
    return outcome;
  }

 private:
  void open_folder() {
    if (run_.root().empty()) {
      run_ = RunFolder(broadcast_text(comm_, RunFolder::default_root(job_.name).string(), "run folder"));
    }
    on_rank_0(comm_, "run folder", [&] {
      run_.make();
      if (!resume_ && has_checkpoints(run_.checkpoints())) {
        throw ConfigError(concat(run_.root().string(),
                                 " holds checkpoints of an earlier run: --resume goes on with it, ",
                                 "another --out starts anew"));
      }
      lock_.emplace(run_.root());
    });
    start_logging({comm_.rank(), comm_.size(), LogLevel::kInfo, run_.log(comm_.rank())});
    monitor_ = std::make_unique<TrainMonitor>(job_, run_, comm_);
  }

  void resume(TrainLoop& loop) {
    const auto reader = CheckpointReader::open_latest(run_.checkpoints(), comm_);
    if (!reader) {
      log_info("nothing to resume in " + run_.checkpoints().string() + ": starting from the beginning");
      return;
    }
    loop.resume(*reader);
    log_info(concat("resumed from ", reader->folder().string(), " at step ", loop.step()));
  }

  const JobOptions& job_;
  RunFolder& run_;
  bool resume_;
  RankProcess& process_;
  Communicator& comm_;
  std::optional<RunLock> lock_;
  std::unique_ptr<TrainMonitor> monitor_;
};

}  // namespace

int run_train(int argc, char** argv) {
  const CommandHelp help{"train", "trains a job; alone, or one rank a process under mpirun or srun",
                         "mpirun -n 2 rondo train --job configs/quickstart.textproto --out runs/first"};
  po::options_description options;
  options.add_options()("out", po::value<std::string>()->default_value(""),
                        "run folder (default: runs/<job name>/<time>)")(
      "resume", po::bool_switch(), "go on from the newest checkpoint in the run folder, if there is one");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const JobOptions job = job_of(*values);
  RunFolder run((*values)["out"].as<std::string>());
  const bool resume = (*values)["resume"].as<bool>();
  if (resume && run.root().empty())
    throw ConfigError("--resume needs --out: the run folder to go on with", ExitCode::kUsage);
  install_stop_signal();
  TrainOutcome outcome;
  run_as_rank(
      rank_options(job), [&](RankProcess& process) { outcome = Training(job, run, resume, process).run(); },
      error_writer(run));
  return static_cast<int>(outcome.stopped ? ExitCode::kStopped : ExitCode::kDone);
}

}  // namespace rondo
