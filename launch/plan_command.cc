#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/plan_report.h"
#include "launch/plan_request.h"
#include "launch/profile_text.h"
#include "launch/run_setup.h"
#include "sharding/base/check.h"
#include "sharding/comm/thread_communicator.h"
#include "trainer/data/dataset_record.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

/// Of the tables that the job lists, or of its model over its dataset.
PlanRequest request_of(const JobOptions& job, const PlanPlace& place) {
  if (!job.planned_tables.empty()) return request_of_listed_tables(job, place);
  if (!std::filesystem::exists(job.data.dataset / kDatasetRecordFile)) {
    throw ConfigError(
        concat("nothing to plan for: ",
               job.data.dataset.empty() ? "data.dataset names no folder" : job.data.dataset.string() + " is no dataset",
               ", and the job lists no tables; run rondo ingest first, or say under plan { table { ... } } ",
               "what the tables will be"));
  }
  const auto alone = make_single_communicator(job.communication);
  ProgressBar progress;
  const RecommenderData data = open_data(job.data, *alone, progress);
  const ItemFeatures features(data.catalog, data.tokens);
  ModelOptions options = model_for(job, data);
  options.text.vocabulary_size = std::max(options.text.vocabulary_size, data.vocabulary_size);
  return request_of_model(job, data, RecommenderModel(options, features, job.seed), place);
}

}  // namespace

int run_plan(int argc, char** argv) {
  const CommandHelp help{"plan", "places a job's tables on ranks and says what a step will cost, before it runs",
                         "rondo plan --job configs/plan_thousand_ranks.textproto --world 1024 --profile h100"};
  po::options_description options;
  options.add_options()("world", po::value<int>()->default_value(1), "ranks to plan for")(
      "profile", po::value<std::string>(),
      "hardware: a file (rondo calibrate writes one), or cpu, h100, a100 (default: the job's plan.profile)")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const JobOptions job = job_of(*values);
  const std::string profile = values->count("profile") > 0 ? (*values)["profile"].as<std::string>() : job.profile;
  const PlanPlace place{(*values)["world"].as<int>(), load_profile(profile)};
  const PlanRequest request = request_of(job, place);
  const Plan plan = make_plan(request);
  const bool json = (*values)["json"].as<bool>();
  std::fputs((json ? plan_json(request, plan).dump() + "\n" : plan_text(request, plan)).c_str(), stdout);
  return 0;
}

}  // namespace rondo
