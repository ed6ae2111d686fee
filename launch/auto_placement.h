#pragma once

#include "launch/job_options.h"
#include "trainer/loop/recommender_data.h"

namespace rondo {

/// The model of a job over a dataset (model_for), with tables whose placement is AUTO placed by the planner for the
/// ranks of `comm`. Rank 0 plans, so that no rank can find another plan; it logs what was chosen and against what.
/// Collective. Throws ConfigError on every rank when the tables do not fit the job's profile.
ModelOptions placed_model(const JobOptions& job, const RecommenderData& data, Communicator& comm);

}  // namespace rondo
