#pragma once

#include <vector>

#include "launch/job_options.h"
#include "sharding/plan/planner.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/model/recommender_model.h"

namespace rondo {

/// For how many ranks of which machine a job is planned.
struct PlanPlace {
  int world = 1;
  HardwareProfile profile;
};

/// The tables that the job lists under `plan`. REQUIRES: it lists some.
PlanRequest request_of_listed_tables(const JobOptions& job, const PlanPlace& place);

/// The tables of a model over a dataset. Ids and distinct ids are counted on batches drawn as training draws them, for
/// one rank's share and for the whole batch; rows are those of the dataset, or the job's hint if that is more.
PlanRequest request_of_model(const JobOptions& job, const RecommenderData& data, const RecommenderModel& model,
                             const PlanPlace& place);

}  // namespace rondo
