#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/job_options.h"
#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/eval/item_index.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {

/// What `recommend` answers from.
struct Serving {
  std::filesystem::path checkpoint;
  ItemIndex index;      // of that checkpoint
  bool stored = false;  // it was there; else it was computed now
  ModelOptions model;   // how a history becomes a user vector

  /// Users and their events; none where the dataset is not at hand.
  std::optional<RecommenderData> data;
};

/// Opens a checkpoint of the run (empty: the newest) for questions. A stored index that is current is used, and then
/// neither weights nor, for questions about items alone, the dataset is read. Without one it is computed; that of the
/// newest checkpoint, under the job that wrote it, is then kept in the run.
///
/// Throws ConfigError for a stored index that is stale, with what to do; DataError (kMissingInput) when there is
/// neither an index nor a dataset to make one from. Collective.
Serving open_serving(const RunFolder& run, const std::string& checkpoint, const JobOptions& job, Communicator& comm,
                     Progress& progress);

}  // namespace rondo
