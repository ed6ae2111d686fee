#include "launch/serving.h"

#include <algorithm>

#include "launch/run_index.h"
#include "launch/run_setup.h"
#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/storage_agreement.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/dataset_record.h"
#include "trainer/eval/index_manifest.h"
#include "trainer/loop/model_ranker.h"

namespace rondo {
namespace {

/// What rank 0 finds in the folders, told to all ranks.
struct Findings {
  std::filesystem::path checkpoint;
  bool is_own = false;  // the run's newest checkpoint, under the job that wrote it: what the stored index is of
  bool has_dataset = false;
  std::string catalogue;  // its digest; empty without a dataset
  bool has_index = false;
};

/// The first that looks right, in the order in which weights are loaded.
std::string newest_checkpoint(const std::filesystem::path& folder) {
  const auto all = describe_checkpoints(folder, /*digests=*/false);
  const auto found = std::ranges::find(all, "", &CheckpointDescription::problem);
  if (found == all.end()) {
    const std::string why = all.empty() ? "" : " can be used: " + all.front().problem;
    throw DataError(concat("no checkpoint in ", folder.string(), why), ExitCode::kMissingInput);
  }
  return found->name;
}

Findings find(const RunFolder& run, const std::string& checkpoint, const JobOptions& job, Communicator& comm) {
  std::string name = checkpoint, catalogue, job_digest;
  int64_t has_index = 0;
  on_rank_zero(comm, "looking at the run folder", [&] {
    if (name.empty()) name = newest_checkpoint(run.checkpoints());
    const auto folder = run.checkpoints() / name;
    job_digest = parse_manifest(read_manifest_text(folder), folder / kManifestName).job_digest;
    if (std::filesystem::exists(job.data.dataset / kDatasetRecordFile)) {
      catalogue = read_dataset_record(job.data.dataset).digests[kCatalogFile];
    }
    has_index = std::filesystem::exists(run.index() / kIndexManifestFile) ? 1 : 0;
  });
  name = broadcast_text(comm, name, "name of a checkpoint");
  job_digest = broadcast_text(comm, job_digest, "digest of the job");
  catalogue = broadcast_text(comm, catalogue, "digest of the catalogue");
  has_index = broadcast_value(comm, has_index, "item index");
  const bool is_own = checkpoint.empty() && job_digest == job.digest;
  return {run.checkpoints() / name, is_own, !catalogue.empty(), catalogue, has_index != 0};
}

/// Is the stored index that of another checkpoint or job? Then, if one of them was asked for, it is not stale.
bool is_of_another(const RunFolder& run, const IndexStamp& stamp, Communicator& comm) {
  int64_t differs = 0;
  on_rank_zero(comm, "reading an item index",
               [&] { differs = read_manifest(run.index()).stamp.tower != stamp.tower ? 1 : 0; });
  return broadcast_value(comm, differs, "item index") != 0;
}

/// Of a checkpoint and `data`; its stamp is set.
ItemIndex compute_index(const RunFolder& run, const std::string& checkpoint, const JobOptions& job,
                        const RecommenderData& data, Communicator& comm) {
  Recommender recommender(model_for(job, data), data, job.seed, comm);
  const LoadedWeights weights = load_weights(run, checkpoint, recommender, comm);
  ModelRanker ranker(recommender, data, job.examples, comm, weights.step);
  ranker.prepare({});
  ranker.index().stamp = index_stamp(comm, weights.checkpoint, job, data.catalog.digest);
  return std::move(ranker.index());
}

}  // namespace

Serving open_serving(const RunFolder& run, const std::string& checkpoint, const JobOptions& job, Communicator& comm,
                     Progress& progress) {
  const Findings found = find(run, checkpoint, job, comm);
  const IndexStamp stamp = index_stamp(comm, found.checkpoint, job, found.catalogue);
  Serving serving{.checkpoint = found.checkpoint, .index = {}, .stored = false, .model = job.model, .data = {}};
  serving.stored = found.has_index && (found.is_own || !is_of_another(run, stamp, comm));
  if (serving.stored) serving.index = read_item_index(comm, run.index(), stamp);
  if (!serving.stored && !found.has_dataset) {
    throw DataError(
        concat("no item index in ", run.index().string(), ", and no dataset in \"", job.data.dataset.string(),
               "\" to make it from: rondo evaluate --run ", run.root().string(), " makes it where the dataset is"),
        ExitCode::kMissingInput);
  }
  if (!found.has_dataset) return serving;
  DataOptions options = job.data;
  options.needs_text = options.needs_text && !serving.stored;
  const RecommenderData& data = serving.data.emplace(open_data(options, comm, progress));
  serving.model = model_for(job, data);
  if (serving.stored) return serving;
  if (comm.rank() == 0) log_info(concat("no item index of ", found.checkpoint.string(), " yet: computing it"));
  serving.index = compute_index(run, found.checkpoint.filename().string(), job, data, comm);
  if (found.is_own) store_index(comm, run, serving.index);
  return serving;
}

}  // namespace rondo
