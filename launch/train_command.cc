#include <cstdio>
#include <memory>
#include <optional>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_setup.h"
#include "launch/stop_signal.h"
#include "launch/text_weights.h"
#include "launch/train_monitor.h"
#include "launch/trainee.h"
#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_writer.h"
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

std::string ranks_text(int ranks) { return concat(ranks, ranks == 1 ? " rank" : " ranks"); }

/// What the command line asks for.
struct TrainRequest {
  JobOptions job;
  std::string folder;  // empty: one of its own under runs/
  bool resume = false;
};

/// One rank of a training, from the folder to the final table.
class Training {
 public:
  /// `run` becomes the run folder once it is this job's. Until then it may be another's, which is to find nothing of
  /// ours in it, error files least of all.
  Training(const TrainRequest& request, RunFolder& run, RankProcess& process)
      : job_(request.job), request_(request), run_(run), process_(process), comm_(process.comm) {}

  TrainOutcome run() {
    comm_.set_phase(Phase::kStart);
    require_same_job(comm_, job_);
    open_folder();
    const auto trainee = make_trainee(job_, comm_, *monitor_->progress());
    TrainLoop loop(job_.train, trainee->task(), comm_);
    const auto files = make_posix_file_system();
    CheckpointWriter writer(run_.checkpoints(), *files, comm_, {job_.train.keep_checkpoints});
    auto texts = trainee->texts();
    texts["job.textproto"] = job_.text;
    loop.save_into(&writer, std::move(texts), job_.digest);
    if (!request_.resume || !resume(loop)) trainee->start();
    process_.beat(Phase::kEvaluation, loop.step());
    trainee->prepare(loop.step());
    process_.beat(Phase::kStart, loop.step());
    // Not before: a checkpoint may refuse this job, and then the folder still says what it holds.
    on_rank_0(comm_, "job", [&] { make_posix_file_system()->replace_file(run_.job(), job_.text); });
    monitor_->begin(trainee->summary(), loop);

    const TrainOutcome outcome = loop.run(hooks_for(*trainee));
    monitor_->end(outcome);
    if (outcome.stopped) return outcome;
    process_.beat(Phase::kEvaluation, outcome.step);
    if (const auto findings = trainee->test(outcome, run_)) monitor_->on_evaluation(*findings);
    return outcome;
  }

 private:
  TrainHooks hooks_for(Trainee& trainee) {
    TrainHooks hooks;
    hooks.stop_requested = stop_requested;
    hooks.beat = process_.beat;
    hooks.on_step = [this](const StepReport& report) { monitor_->on_step(report); };
    hooks.on_failed_save = [this](int64_t step, const std::string& why) { monitor_->on_failed_save(step, why); };
    hooks.evaluate = [this, &trainee](int64_t step) {
      const EvaluationOutcome findings = trainee.validate(step);
      monitor_->on_evaluation(findings);
      return findings.score;
    };
    return hooks;
  }

  void open_folder() {
    const std::string root = request_.folder.empty() ? RunFolder::default_root(job_.name).string() : request_.folder;
    const RunFolder folder(broadcast_text(comm_, root, "run folder"));
    on_rank_0(comm_, "run folder", [&] {
      folder.make();
      if (!request_.resume && has_checkpoints(folder.checkpoints())) {
        throw ConfigError(concat(folder.root().string(),
                                 " holds checkpoints of an earlier run: --resume goes on with it, ",
                                 "another --out starts anew"));
      }
      lock_.emplace(folder.root());
      folder.forget_errors();
    });
    run_ = folder;
    start_logging({comm_.rank(), comm_.size(), LogLevel::kInfo, run_.log(comm_.rank())});
    monitor_ = std::make_unique<TrainMonitor>(job_, run_, comm_);
  }

  /// Whether there was something to go on from.
  bool resume(TrainLoop& loop) {
    const auto reader = CheckpointReader::open_latest(run_.checkpoints(), comm_);
    if (!reader) {
      if (comm_.rank() == 0) {
        log_info("nothing to resume in " + run_.checkpoints().string() + ": starting from the beginning");
      }
      return false;
    }
    loop.resume(*reader);
    if (comm_.rank() != 0) return true;
    const Manifest& from = reader->manifest();
    log_info(concat("resuming from ", reader->folder().string(), ": step ", from.step, " of ", loop.total_steps(),
                    ", epoch ", from.cursor.epoch, ", next example ", from.cursor.next, "; saved by ",
                    ranks_text(from.world), ", now ", ranks_text(comm_.size())));
    if (!reader->rejected().empty()) {
      log_warning(concat("the steps behind ", from.step, " are done again: checkpoints of later ones cannot be used"));
    }
    if (from.step >= loop.total_steps()) log_info("all steps are done: nothing is left to train");
    return true;
  }

  const JobOptions& job_;
  const TrainRequest& request_;
  RunFolder& run_;
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
  TrainRequest request{job_of(*values), (*values)["out"].as<std::string>(), (*values)["resume"].as<bool>()};
  if (request.resume && request.folder.empty())
    throw ConfigError("--resume needs --out: the run folder to go on with", ExitCode::kUsage);
  if (request.resume) use_kept_tokenizer(RunFolder(request.folder), request.job);
  install_stop_signal();
  RunFolder run("");
  TrainOutcome outcome;
  run_as_rank(
      rank_options(request.job), [&](RankProcess& process) { outcome = Training(request, run, process).run(); },
      error_writer(run));
  return static_cast<int>(outcome.stopped ? ExitCode::kStopped : ExitCode::kDone);
}

}  // namespace rondo
