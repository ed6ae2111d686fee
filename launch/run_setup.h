#pragma once

#include <functional>
#include <string>

#include "launch/job_options.h"
#include "launch/rank_process.h"
#include "sharding/base/progress.h"
#include "trainer/eval/evaluation.h"
#include "trainer/eval/item_index.h"
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

/// Which checkpoint a model was filled from.
struct LoadedWeights {
  int64_t step = 0;
  std::filesystem::path checkpoint;
  std::string job_digest;  // of the job that wrote it
};

/// Loads the weights of a checkpoint of the run (empty: the newest that is in order). Collective.
LoadedWeights load_weights(const RunFolder& run, const std::string& checkpoint, Recommender& recommender,
                           Communicator& comm);

/// Which evaluation of a model.
struct EvaluationRequest {
  HeldOut held_out = HeldOut::kTest;
  int64_t step = 0;  // of the weights

  /// Is given the vectors of all items, without their stamp; on every rank.
  std::function<void(ItemIndex& index)> on_index = {};
};

/// Evaluates the model beside the floors; the report is the same on every rank. Collective.
EvaluationReport evaluate_model(const JobOptions& job, const RecommenderData& data, Recommender& recommender,
                                Communicator& comm, const EvaluationRequest& request);

RankOptions rank_options(const JobOptions& job);

/// Writes the error file of a rank into the run folder; does nothing before the folder is known.
std::function<void(const RankFailure&)> error_writer(const RunFolder& run);

}  // namespace rondo
