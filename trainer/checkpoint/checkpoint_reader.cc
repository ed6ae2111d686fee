#include "trainer/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <sstream>

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/dense_file.h"
#include "trainer/checkpoint/rows_file.h"
#include "trainer/checkpoint/storage_agreement.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr size_t kMostLines = 30;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string joined(const std::vector<std::string>& lines, const char* before) {
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), kMostLines); ++i) text += before + lines[i];
  if (lines.size() > kMostLines) text += concat(before, "and ", lines.size() - kMostLines, " more");
  return text;
}

/// What rank 0 sees, on every rank: they must try the same checkpoints.
CheckpointNames agreed_names(const std::filesystem::path& folder, Communicator& comm) {
  CheckpointNames found;
  std::string lines;
  on_rank_zero(comm, "looking for checkpoints", [&] {
    found = list_checkpoint_names(folder);
    for (const std::string& name : found.names) lines += name + "\n";
  });
  found.names = lines_of(broadcast_text(comm, lines, "names of checkpoints"));
  found.problem = broadcast_text(comm, found.problem, "state of LATEST");
  return found;
}

}  // namespace

std::optional<CheckpointReader> CheckpointReader::open_latest(const std::filesystem::path& folder, Communicator& comm) {
  const CheckpointPhase phase(comm);
  const CheckpointNames found = agreed_names(folder, comm);
  std::vector<std::string> rejected;
  const auto reject = [&](const std::string& reason) {
    rejected.push_back(reason);
    if (comm.rank() == 0) log_warning("checkpoint passed over: " + reason);
  };
  if (!found.problem.empty()) reject(found.problem);
  for (const std::string& name : found.names) {
    try {
      CheckpointReader reader = open(folder / name, comm);
      reader.rejected_ = std::move(rejected);
      return reader;
    } catch (const StorageError& error) {
      reject(error.what());
    } catch (const DataError& error) {  // gone since it was listed
      reject(error.what());
    }
  }
  if (rejected.empty()) return std::nullopt;
  throw StorageError(concat("no checkpoint in ", folder.string(), " can be used:", joined(rejected, "\n  ")));
}

CheckpointReader CheckpointReader::open(const std::filesystem::path& checkpoint, Communicator& comm) {
  const CheckpointPhase phase(comm);
  std::string text;
  on_rank_zero(comm, "reading a manifest", [&] { text = read_manifest_text(checkpoint); });
  text = broadcast_text(comm, text, "a manifest");
  CheckpointReader reader(checkpoint, parse_manifest(text, checkpoint / kManifestName), comm);
  on_rank_zero(comm, "verifying a checkpoint", [&] { verify_sizes(checkpoint, reader.manifest_); });
  on_each_rank(comm, "verifying a checkpoint",
               [&] { verify_digests(checkpoint, reader.manifest_, comm.rank(), comm.size()); });
  return reader;
}

std::string CheckpointReader::text(const std::string& name) const {
  const ManifestFile* const file = manifest_.file(name);
  if (file == nullptr) throw ConfigError(concat("checkpoint ", folder_.string(), " holds no ", name));
  std::string content = read_file(folder_ / name, file->bytes);
  if (sha256_hex(content) != file->sha256) {
    throw StorageError(concat((folder_ / name).string(), " changed since it was verified"));
  }
  return content;
}

void CheckpointReader::load(CheckpointContent& content, LoadScope scope) const {
  const CheckpointPhase phase(*comm_);
  const std::vector<std::string> differences = mismatches(manifest_, content, scope);
  on_each_rank(*comm_, "comparing a checkpoint with the job", [&] {
    if (differences.empty()) return;
    throw ConfigError(concat("checkpoint ", folder_.string(), " does not fit the job:", joined(differences, "\n  ")));
  });
  on_each_rank(*comm_, "loading a checkpoint", [&] {
    if (!content.dense.empty()) read_dense_file(folder_ / kDenseFileName, content.dense);
    if (content.embedding != nullptr) read_rows(folder_, manifest_, *content.embedding);
  });
  content.step = manifest_.step;
  content.cursor = manifest_.cursor;
}

}  // namespace rondo
