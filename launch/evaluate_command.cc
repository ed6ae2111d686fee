#include <cstdio>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_index.h"
#include "launch/run_setup.h"
#include "sharding/base/check.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

HeldOut held_out_of(const std::string& split) {
  if (split == "test") return HeldOut::kTest;
  if (split == "valid") return HeldOut::kValid;
  throw ConfigError("--split must be test or valid, got \"" + split + "\"", ExitCode::kUsage);
}

}  // namespace

int run_evaluate(int argc, char** argv) {
  const CommandHelp help{"evaluate", "evaluates a run over the whole catalogue, beside the floors",
                         "rondo evaluate --run runs/first --split test"};
  po::options_description options;
  options.add_options()("run", po::value<std::string>()->required(), "run folder that rondo train made")(
      "checkpoint", po::value<std::string>()->default_value(""), "name below checkpoints/ (default: the newest)")(
      "split", po::value<std::string>()->default_value("test"), "test or valid")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const RunFolder run((*values)["run"].as<std::string>());
  const JobOptions job = job_of_run(run, named_files(*values), assignments(*values));
  const HeldOut held_out = held_out_of((*values)["split"].as<std::string>());
  run_as_rank(
      rank_options(job),
      [&](RankProcess& process) {
        ProgressBar progress;
        process.beat(Phase::kEvaluation, 0);
        require_same_job(process.comm, job);
        const RecommenderData data = open_data(job.data, process.comm, progress);
        Recommender recommender(model_for(job, data), data, job.seed, process.comm);
        const auto checkpoint = (*values)["checkpoint"].as<std::string>();
        const LoadedWeights weights = load_weights(run, checkpoint, recommender, process.comm);
        EvaluationRequest request{held_out, weights.step};
        // Of the newest checkpoint, as it was trained: what `recommend` reads.
        if (checkpoint.empty() && weights.job_digest == job.digest)
          request.on_index = index_keeper(process.comm, run, weights.checkpoint, job, data);
        const EvaluationReport report = evaluate_model(job, data, recommender, process.comm, request);
        if (process.comm.rank() != 0) return;
        const bool json = (*values)["json"].as<bool>();
        std::puts((json ? to_json(report) : to_table(report)).c_str());
      },
      [](const RankFailure&) {});
  return 0;
}

}  // namespace rondo
