#include "launch/run_index.h"

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/storage_agreement.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"

namespace rondo {

IndexStamp index_stamp(Communicator& comm, const std::filesystem::path& checkpoint, const JobOptions& job,
                       std::string catalogue) {
  std::string text;
  on_rank_zero(comm, "reading a manifest", [&] { text = read_manifest_text(checkpoint); });
  text = broadcast_text(comm, text, "a manifest");
  const Manifest manifest = parse_manifest(text, checkpoint / kManifestName);
  // The manifest has the digest of every file of weights.
  IndexStamp stamp{sha256_hex(concat(text, job.digest)), "", std::move(catalogue)};
  if (const ManifestFile* tokenizer = manifest.file(kTokenizerFile); tokenizer != nullptr && tokenizer->bytes > 0) {
    stamp.tokenizer = tokenizer->sha256;
  }
  return stamp;
}

void store_index(Communicator& comm, const RunFolder& run, const ItemIndex& index) {
  try {
    write_item_index(comm, *make_posix_file_system(), run.index(), index);
  } catch (const StorageError& error) {
    log_warning(concat("the item index is not kept: ", error.what()));
  } catch (const PeerError& error) {  // another rank's StorageError; a peer that is lost shows at the next call
    log_warning(concat("the item index is not kept: ", error.what()));
  }
}

std::function<void(ItemIndex& index)> index_keeper(Communicator& comm, const RunFolder& run,
                                                   const std::filesystem::path& checkpoint, const JobOptions& job,
                                                   const RecommenderData& data) {
  return [&comm, &run, checkpoint, &job, &data](ItemIndex& index) {
    index.stamp = index_stamp(comm, checkpoint, job, data.catalog.digest);
    store_index(comm, run, index);
  };
}

}  // namespace rondo
