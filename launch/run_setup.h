#pragma once

#include <functional>
#include <string>

#include "launch/job_options.h"
#include "launch/rank_process.h"
#include "sharding/base/progress.h"
#include "trainer/eval/evaluation.h"
#include "trainer/loop/recommender.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {

/// The model options of a job with what the dataset says: weights of behaviours by their index. Throws ConfigError for
/// a behaviour that the dataset lacks.
ModelOptions model_for(const JobOptions& job, const RecommenderData& data);

/// The job of a run folder (job.textproto) with the command line's --job and --set over it.
JobOptions job_of_run(const RunFolder& run, const std::vector<std::string>& files,
                      const std::vector<std::string>& assignments);

/// Throws if a rank was given another job than rank 0: by a launcher line with several programs, or a file that differs
/// between hosts. Such ranks would train on, each right and the whole wrong. ConfigError on the rank, PeerError with
/// its code on the others. Collective.
void require_same_job(Communicator& comm, const JobOptions& job);

/// Loads the weights of a checkpoint of the run (empty: the newest) and returns its step. Collective.
int64_t load_weights(const RunFolder& run, const std::string& checkpoint, Recommender& recommender, Communicator& comm);

/// Evaluates the model beside the floors; the report is the same on every rank. Collective.
EvaluationReport evaluate_model(const JobOptions& job, const RecommenderData& data, Recommender& recommender,
                                Communicator& comm, HeldOut held_out, int64_t step);

RankOptions rank_options(const JobOptions& job);

/// Writes the error file of a rank into the run folder; does nothing before the folder is known.
std::function<void(const RankFailure&)> error_writer(const RunFolder& run);

}  // namespace rondo
