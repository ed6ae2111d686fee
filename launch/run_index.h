#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "launch/job_options.h"
#include "sharding/comm/communicator.h"
#include "trainer/eval/item_index.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {

/// What the item index of a checkpoint is made from: its weights, what of `job` its vectors depend on, its vocabulary.
/// `catalogue`: Catalog::digest; empty: not known, so not compared. Reads the manifest. The same on every rank;
/// collective.
IndexStamp index_stamp(Communicator& comm, const std::filesystem::path& checkpoint, const JobOptions& job,
                       std::string catalogue);

/// Leaves an index in the run folder, for `recommend`. One that cannot be written is said, and costs nothing else.
/// Collective.
void store_index(Communicator& comm, const RunFolder& run, const ItemIndex& index);

/// Stamps the index of an evaluation of `checkpoint` and stores it (EvaluationRequest::on_index). Keeps references.
std::function<void(ItemIndex& index)> index_keeper(Communicator& comm, const RunFolder& run,
                                                   const std::filesystem::path& checkpoint, const JobOptions& job,
                                                   const RecommenderData& data);

}  // namespace rondo
