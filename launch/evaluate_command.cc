#include <cstdio>

#include "launch/classifier_setup.h"
#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_index.h"
#include "launch/run_setup.h"
#include "sharding/base/check.h"
#include "trainer/loop/classifier_evaluation.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

HeldOut held_out_of(const std::string& split) {
  if (split == "test") return HeldOut::kTest;
  if (split == "valid") return HeldOut::kValid;
  throw ConfigError("--split must be test or valid, got \"" + split + "\"", ExitCode::kUsage);
}

/// What is asked of `rondo evaluate`.
struct Request {
  const RunFolder& run;
  std::string checkpoint;  // empty: the newest, or the best on valid
  HeldOut held_out;
  bool json;
};

std::string evaluated_recommender(const Request& request, const JobOptions& job, Communicator& comm,
                                  Progress& progress) {
  const RecommenderData data = open_data(job.data, comm, progress);
  Recommender recommender(model_for(job, data), data, job.seed, comm);
  const LoadedWeights weights = load_weights(request.run, request.checkpoint, recommender, comm);
  EvaluationRequest evaluation{request.held_out, weights.step};
  // Of the newest checkpoint, as it was trained: what `recommend` reads.
  if (request.checkpoint.empty() && weights.job_digest == job.digest)
    evaluation.on_index = index_keeper(comm, request.run, weights.checkpoint, job, data);
  const EvaluationReport report = evaluate_model(job, data, recommender, comm, evaluation);
  return request.json ? to_json(report) : to_table(report);
}

std::string evaluated_classifier(const Request& request, const JobOptions& job, Communicator& comm,
                                 Progress& progress) {
  const ClassifierData data = open_classifier_data(job.data, comm, progress);
  const bool is_test = request.held_out == HeldOut::kTest;
  if ((is_test ? data.split.test : data.split.valid).empty()) {
    throw DataError(
        concat("the dataset ", job.data.dataset.string(), " holds out nothing for ", is_test ? "test" : "valid"));
  }
  const TextClassifier model(classifier_for(job, data).model, job.seed);
  const CheckpointReader reader = open_answering(request.run, request.checkpoint, comm);
  require_classes_of(reader, data);
  const int64_t step = load_weights(reader, model);
  const ClassificationReport report = evaluate_classifier(model, data, request.held_out, step, comm);
  return request.json ? to_json(report) : to_table(report);
}

}  // namespace

int run_evaluate(int argc, char** argv) {
  const CommandHelp help{
      "evaluate", "evaluates a run on what was held out (a recommender: over the whole catalogue), beside the floors",
      "rondo evaluate --run runs/first --split test"};
  po::options_description options;
  options.add_options()("run", po::value<std::string>()->required(), "run folder that rondo train made")(
      "checkpoint", po::value<std::string>()->default_value(""),
      "name below checkpoints/ (default: the newest; of a text classification the best on valid)")(
      "split", po::value<std::string>()->default_value("test"), "test or valid")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const RunFolder run((*values)["run"].as<std::string>());
  const JobOptions job = job_of_run(run, named_files(*values), assignments(*values));
  const HeldOut held_out = held_out_of((*values)["split"].as<std::string>());
  const bool json = (*values)["json"].as<bool>();
  run_as_rank(
      rank_options(job),
      [&](RankProcess& process) {
        ProgressBar progress;
        process.beat(Phase::kEvaluation, 0);
        require_same_job(process.comm, job);
        const auto checkpoint = (*values)["checkpoint"].as<std::string>();
        const std::string text =
            job.task == TaskKind::kTextClassification
                ? evaluated_classifier({run, checkpoint, held_out, json}, job, process.comm, progress)
                : evaluated_recommender({run, checkpoint, held_out, json}, job, process.comm, progress);
        if (process.comm.rank() == 0) std::puts(text.c_str());
      },
      [](const RankFailure&) {});
  return 0;
}

}  // namespace rondo
