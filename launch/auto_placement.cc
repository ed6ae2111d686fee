#include "launch/auto_placement.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/plan_request.h"
#include "launch/profile_text.h"
#include "launch/run_setup.h"
#include "sharding/base/log.h"

namespace rondo {
namespace {

/// What the plan decides, as text for the other ranks.
std::string plan_on_rank_0(const JobOptions& job, const RecommenderData& data, ModelOptions model, int world) {
  model.text.vocabulary_size = data.vocabulary_size;
  const ItemFeatures features(data.catalog, data.tokens);
  const PlanRequest request =
      request_of_model(job, data, RecommenderModel(model, features, job.seed), {world, load_profile(job.profile)});
  const Plan plan = make_plan(request);
  nlohmann::json out = nlohmann::json::array();
  const std::vector<TableSpec> specs = placed_specs(request, plan);
  for (size_t t = 0; t < specs.size(); ++t) {
    if (!request.tables[t].allowed.empty()) continue;
    const TablePlan& table = plan.tables[t];
    log_info(fmt::format(
        "table {}: {} ({}), {:.3f} ms a step{}", specs[t].name, to_text(table.placed.choice), to_text(table.reason),
        table.seconds * 1e3,
        table.next ? fmt::format("; next best {}, {:.3f} ms", to_text(*table.next), table.next_seconds * 1e3) : ""));
    out.push_back({specs[t].name, static_cast<int>(specs[t].placement), specs[t].owner, specs[t].column_shards});
  }
  return out.dump();
}

}  // namespace

ModelOptions placed_model(const JobOptions& job, const RecommenderData& data, Communicator& comm) {
  ModelOptions model = model_for(job, data);
  if (!job.places_items && !job.places_categories) return model;
  std::string text;
  std::exception_ptr failure;
  if (comm.rank() == 0) {
    try {
      text = plan_on_rank_0(job, data, model, comm.size());
    } catch (...) {
      failure = std::current_exception();
    }
  }
  agree(comm, failure, "plan");
  for (const auto& entry : nlohmann::json::parse(broadcast_text(comm, text, "plan"))) {
    model.placements.push_back({entry[0].get<std::string>(), static_cast<Placement>(entry[1].get<int>()),
                                entry[2].get<int>(), entry[3].get<int>()});
  }
  return model;
}

}  // namespace rondo
