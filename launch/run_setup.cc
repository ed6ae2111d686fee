#include "launch/run_setup.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <optional>
#include <sstream>

#include "launch/text_weights.h"
#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/eval/popular_fallback.h"
#include "trainer/loop/model_ranker.h"
#include "trainer/telemetry/error_file.h"

namespace rondo {
namespace {

/// The first line in which two texts differ, and what stands there in the other.
std::string first_difference(const std::string& mine, const std::string& other) {
  std::istringstream a(mine), b(other);
  std::string here, there;
  for (int64_t line = 1;; ++line) {
    const bool more = static_cast<bool>(std::getline(a, here));
    const bool more_there = static_cast<bool>(std::getline(b, there));
    if (more && more_there && here == there) continue;
    const auto quoted = [](bool has, const std::string& text) { return has ? "\"" + text + "\"" : "nothing"; };
    return concat("line ", line, " of the whole job is ", quoted(more, here), ", there ", quoted(more_there, there));
  }
}

const char* word_of(Phase phase) {
  switch (phase) {
    case Phase::kStart:
      return "start";
    case Phase::kStep:
      return "step";
    case Phase::kEvaluation:
      return "evaluation";
    case Phase::kCheckpoint:
      return "checkpoint";
  }
  return "";
}

/// With the vectors that `model` was evaluated with.
std::optional<HiddenReport> evaluate_hidden(const JobOptions& job, const EvaluationData& data, ModelRanker& model,
                                            Communicator& comm, int64_t step) {
  const std::vector<EvaluationCase> cases = hidden_cases(data);
  if (cases.empty()) return std::nullopt;
  HiddenReport report;
  report.step = step;
  report.held_out = data.name();
  report.hidden = static_cast<int64_t>(data.split.hidden.size());
  report.users = static_cast<int64_t>(cases.size());
  for (const EvaluationCase& one : cases) report.targets += static_cast<int64_t>(one.targets.size());
  report.k = job.evaluation.k;
  report.confidence = job.evaluation.bootstrap.confidence;
  report.resamples = job.evaluation.bootstrap.resamples;
  const std::vector<int32_t> hidden = hidden_candidates(data);
  std::vector<int32_t> all(data.candidates().begin(), data.candidates().end());
  if (all.empty()) {
    all.resize(static_cast<size_t>(data.catalog.items()));
    std::iota(all.begin(), all.end(), 0);
  }
  const auto measure = [&](const char* among, std::span<const int32_t> candidates) {
    report.recalls.push_back(
        measure_hidden(comm, model, cases, candidates, job.evaluation.k, job.evaluation.bootstrap));
    report.recalls.back().among = among;
  };
  measure("all", all);
  model.offer(hidden);
  measure("hidden", hidden);
  model.offer(data.candidates());
  return report;
}

}  // namespace

ModelOptions model_for(const JobOptions& job, const RecommenderData& data) {
  ModelOptions model = job.model;
  const auto& names = data.events.behaviour_names;
  model.user.behaviour_weights.assign(names.size(), 1.0);
  for (const NamedWeight& entry : job.behaviour_weights) {
    const auto found = std::find(names.begin(), names.end(), entry.name);
    if (found == names.end()) {
      throw ConfigError(concat("model.behaviour_weight: the dataset has no behaviour \"", entry.name, "\"",
                               did_you_mean(entry.name, names)));
    }
    model.user.behaviour_weights[static_cast<size_t>(found - names.begin())] = entry.weight;
  }
  return model;
}

JobOptions job_of_run(const RunFolder& run, const std::vector<std::string>& files,
                      const std::vector<std::string>& assignments) {
  if (!std::filesystem::exists(run.job())) {
    throw DataError(concat("no run in ", run.root().string(), ": there is no job.textproto (rondo train makes one)"),
                    ExitCode::kMissingInput);
  }
  std::vector<std::string> all{run.job().string()};
  all.insert(all.end(), files.begin(), files.end());
  JobOptions job = load_job(all, assignments);
  use_kept_tokenizer(run, job);
  return job;
}

void require_same_job(Communicator& comm, const JobOptions& job) {
  const std::string first = broadcast_text(comm, job.text, "the job of rank 0");
  std::exception_ptr failure;
  if (job.text != first) {
    failure = std::make_exception_ptr(ConfigError(
        concat("rank ", comm.rank(), " was given another job than rank 0: ", first_difference(job.text, first),
               ". All ranks need the same --job and --set")));
  }
  agree(comm, failure, "comparing the jobs of the ranks");
}

LoadedWeights load_weights(const RunFolder& run, const std::string& checkpoint, Recommender& recommender,
                           Communicator& comm) {
  auto reader = checkpoint.empty() ? CheckpointReader::open_latest(run.checkpoints(), comm)
                                   : CheckpointReader::open(run.checkpoints() / checkpoint, comm);
  if (!reader) {
    throw DataError(concat("no checkpoint in ", run.checkpoints().string()), ExitCode::kMissingInput);
  }
  CheckpointContent content = checkpoint_content(recommender, nullptr);
  reader->load(content, LoadScope::kWeights);
  return {content.step, reader->folder(), reader->manifest().job_digest};
}

EvaluationReport evaluate_model(const JobOptions& job, const RecommenderData& data, Recommender& recommender,
                                Communicator& comm, const EvaluationRequest& request) {
  const EvaluationData what{data.catalog, data.events, data.split, data.split_options, request.held_out};
  ModelRanker model(recommender, data, job.examples, comm, request.step, what.candidates());
  const auto floors = make_floors(comm, what, job.evaluation);
  PopularFallback served(model, what);
  std::vector<Ranker*> rankers{&served};
  for (const auto& floor : floors) rankers.push_back(floor.get());
  comm.set_phase(Phase::kEvaluation);
  EvaluationReport report = evaluate(comm, rankers, what, job.evaluation);
  report.hidden = evaluate_hidden(job, what, model, comm, request.step);
  if (request.on_index) request.on_index(model.index());
  comm.set_phase(Phase::kStep);
  report.step = request.step;
  return report;
}

RankOptions rank_options(const JobOptions& job) { return {job.communication, job.threads, job.device}; }

std::function<void(const RankFailure&)> error_writer(const RunFolder& run) {
  return [&run](const RankFailure& failure) {
    if (run.root().empty()) return;
    write_error_file(run.error(failure.rank), {failure.rank, failure.step, failure.exit_code, failure.message,
                                               failure.type, word_of(failure.phase)});
  };
}

}  // namespace rondo
