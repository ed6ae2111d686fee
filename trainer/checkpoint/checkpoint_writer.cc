#include "trainer/checkpoint/checkpoint_writer.h"

#include <ATen/ops/empty.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/dense_file.h"
#include "trainer/checkpoint/rows_file.h"
#include "trainer/checkpoint/storage_agreement.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

/// Of the bytes of the tensors: what HDF5 and the file system add.
constexpr double kSpaceMargin = 1.02;
constexpr int64_t kSpaceFloor = int64_t{1} << 20;

constexpr int64_t kDigestWords = 8;  // 64 hexadecimal digits

int64_t fresh_number() {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return static_cast<int64_t>(mix64(static_cast<uint64_t>(now) ^ (static_cast<uint64_t>(::getpid()) << 40)) >> 1);
}

/// Bytes that `rank` will write.
int64_t bytes_to_write(const CheckpointContent& content, int rank, int world) {
  int64_t bytes = 0;
  for (int64_t t = 0; content.embedding != nullptr && t < content.embedding->tables(); ++t) {
    const TableSpec& spec = content.embedding->spec(t);
    const Shard shard = shard_to_write(spec, t, rank, world);
    if (shard.empty()) continue;
    bytes += content.embedding->rows(t) * stored_row_bytes(spec, shard.columns.count());
    bytes += (shard.buckets.last - shard.buckets.first) * static_cast<int64_t>(sizeof(int64_t));
  }
  if (rank != 0) return bytes;
  for (const NamedTensor& tensor : content.dense) bytes += static_cast<int64_t>(tensor.value.nbytes());
  for (const auto& [name, text] : content.texts) bytes += static_cast<int64_t>(text.size());
  return bytes;
}

Manifest manifest_without_files(const CheckpointContent& content, int world) {
  Manifest manifest{.step = content.step,
                    .world = world,
                    .seed = content.seed,
                    .job_digest = content.job_digest,
                    .cursor = content.cursor,
                    .tensors = manifest_tensors(content.dense)};
  for (int64_t t = 0; content.embedding != nullptr && t < content.embedding->tables(); ++t) {
    manifest.tables.push_back(manifest_table(content.embedding->spec(t)));
  }
  return manifest;
}

void refuse_symbolic_link(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (std::filesystem::is_symlink(std::filesystem::symlink_status(folder, ignored))) {
    throw StorageError(concat(folder.string(), " is a symbolic link: checkpoints go into a real folder only"),
                       ExitCode::kCannotCreate);
  }
}

bool is_leftover(const std::string& name) {
  return name.starts_with("step-") &&
         (name.find(kTemporarySuffix) != std::string::npos || name.ends_with(kTrashSuffix));
}

std::vector<std::filesystem::path> leftovers(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (is_leftover(entry.path().filename().string())) paths.push_back(entry.path());
  }
  return paths;
}

void refuse_reserved_name(const std::string& name) {
  const bool free =
      is_plain_name(name) && name != kManifestName && name != kDenseFileName && !name.starts_with("rows-");
  RONDO_CHECK(free, "text \"", name, "\" of a checkpoint");
}

/// Cheap: manifest and sizes.
bool is_usable(const std::filesystem::path& checkpoint) {
  return describe_checkpoint(checkpoint, /*digests=*/false).problem.empty();
}

}  // namespace

void validate(const CheckpointWriterOptions& options) {
  if (options.keep < 1) throw ConfigError(concat("keep must be at least 1, got ", options.keep));
}

CheckpointWriter::CheckpointWriter(std::filesystem::path folder, FileSystem& files, Communicator& comm,
                                   const CheckpointWriterOptions& options)
    : folder_(std::move(folder)), files_(files), comm_(comm), options_(options) {
  validate(options);
  on_rank_zero(comm_, "preparing the checkpoint folder", [&] {
    refuse_symbolic_link(folder_);
    files_.make_folder(folder_);
    const auto probe = folder_ / concat("step-probe", kTemporarySuffix, ::getpid());
    files_.replace_file(probe, "");
    files_.remove(probe);
    files_.sync(folder_.has_parent_path() ? folder_.parent_path() : ".");
    for (const auto& path : leftovers(folder_)) {
      log_info(concat("removing ", path.string(), ", which a save or a clean-up that did not end left behind"));
      files_.remove(path);
    }
  });
}

std::filesystem::path CheckpointWriter::write(const CheckpointContent& content) {
  const CheckpointPhase phase(comm_);
  Manifest manifest = manifest_without_files(content, comm_.size());
  const auto temporary = make_temporary(content);
  try {
    write_files(temporary, content, manifest);
    return publish(temporary, manifest);
  } catch (const StorageError&) {
    discard(temporary);
    throw;
  }
}

/// An empty folder for the files, after a look at the free space.
std::filesystem::path CheckpointWriter::make_temporary(const CheckpointContent& content) {
  const int64_t bytes = sum_of(comm_, bytes_to_write(content, comm_.rank(), comm_.size()), "size of a checkpoint");
  const int64_t number = broadcast_value(comm_, fresh_number(), "name of a checkpoint");
  const auto temporary = folder_ / concat(checkpoint_name(content.step), kTemporarySuffix, number);
  on_rank_zero(comm_, "starting a checkpoint", [&] {
    const auto needed = static_cast<int64_t>(kSpaceMargin * static_cast<double>(bytes)) + kSpaceFloor;
    const int64_t available = files_.free_bytes(folder_);
    if (available < needed) {
      throw StorageError(concat("a checkpoint needs ", needed, " bytes in ", folder_.string(), ", and ", available,
                                " are free: No space left on device"));
    }
    files_.make_folder(temporary);
  });
  return temporary;
}

/// Everything but the manifest, written and synced by all ranks. `manifest` is complete then, on rank 0.
void CheckpointWriter::write_files(const std::filesystem::path& temporary, const CheckpointContent& content,
                                   Manifest& manifest) {
  const auto rows_path = temporary / rows_file_name(comm_.rank());
  ManifestFile rows_file;
  on_each_rank(comm_, "writing a checkpoint", [&] {
    if (content.embedding != nullptr) {
      const RowsFileHeader header{.step = content.step, .rank = comm_.rank(), .world = comm_.size()};
      write_rows_file(rows_path, *content.embedding, header, files_);
      rows_file = finished(rows_path);
    }
    if (comm_.rank() == 0) manifest.files = write_shared_files(temporary, content);
  });
  if (content.embedding != nullptr) gather_rows_files(*content.embedding, rows_file, manifest);
}

ManifestFile CheckpointWriter::finished(const std::filesystem::path& path) const {
  return {path.filename().string(), static_cast<int64_t>(std::filesystem::file_size(path)), sha256_of_file(path)};
}

std::vector<ManifestFile> CheckpointWriter::write_shared_files(const std::filesystem::path& temporary,
                                                               const CheckpointContent& content) {
  std::vector<ManifestFile> written;
  if (!content.dense.empty()) {
    write_dense_file(temporary / kDenseFileName, content.dense, files_);
    written.push_back(finished(temporary / kDenseFileName));
  }
  for (const auto& [name, text] : content.texts) {
    refuse_reserved_name(name);
    files_.replace_file(temporary / name, text);
    written.push_back(finished(temporary / name));
  }
  return written;
}

/// Sizes, digests and rows of all ranks' files, as one row of numbers a rank: bytes, digest, rows of each table.
void CheckpointWriter::gather_rows_files(const ShardedEmbedding& embedding, const ManifestFile& mine,
                                         Manifest& manifest) {
  const int64_t tables = embedding.tables(), columns = 1 + kDigestWords + tables;
  const std::vector<int64_t> one_each(static_cast<size_t>(comm_.size()), 1);
  at::Tensor input = at::empty({1, columns}, at::kLong), output = at::empty({comm_.size(), columns}, at::kLong);
  auto* const numbers = input.mutable_data_ptr<int64_t>();
  numbers[0] = mine.bytes;
  std::memcpy(numbers + 1, mine.sha256.data(), kDigestWords * sizeof(int64_t));
  for (int64_t t = 0; t < tables; ++t) numbers[1 + kDigestWords + t] = embedding.rows(t);
  comm_.all_gather(input, output, one_each, {Channel::kControl, "files of a checkpoint"})->wait();

  for (int rank = 0; rank < comm_.size(); ++rank) {
    const int64_t* const row = output.const_data_ptr<int64_t>() + rank * columns;
    std::string digest(kDigestWords * sizeof(int64_t), '\0');
    std::memcpy(digest.data(), row + 1, digest.size());
    const std::string file = rows_file_name(rank);
    manifest.files.push_back({file, row[0], digest});
    for (int64_t t = 0; t < tables; ++t) {
      const Shard shard = shard_to_write(embedding.spec(t), t, rank, comm_.size());
      if (shard.empty()) continue;
      const int64_t rows = row[1 + kDigestWords + t];
      manifest.tables[static_cast<size_t>(t)].parts.push_back({file, shard.buckets, shard.columns, rows});
    }
  }
  for (ManifestTable& table : manifest.tables) {  // ranks hold columns in a circle
    std::ranges::stable_sort(
        table.parts, {}, [](const ManifestPart& part) { return std::pair(part.buckets.first, part.columns.first); });
  }
}

/// The commit. Order matters: manifest, names in the folder, the folder's own name, LATEST; each durable before the
/// next.
std::filesystem::path CheckpointWriter::publish(const std::filesystem::path& temporary, const Manifest& manifest) {
  const std::string name = checkpoint_name(manifest.step);
  const auto target = folder_ / name;
  on_rank_zero(comm_, "publishing a checkpoint", [&] {
    files_.replace_file(temporary / kManifestName, to_text(manifest));
    files_.sync(temporary);
    if (std::filesystem::exists(target)) {
      // The same step once more (a resume that stops at once): until the new one is in place, the old one stays
      // readable under a name that readers try too.
      const auto replaced = folder_ / (name + kReplacedSuffix);
      files_.remove(replaced);
      files_.rename(target, replaced);
    }
    files_.rename(temporary, target);
    files_.replace_file(folder_ / kLatestName, name + "\n");
    retire(name);
  });
  return target;
}

/// Removes what `keep` no longer covers. A failure costs space only.
void CheckpointWriter::retire(const std::string& newest) {
  try {
    int64_t kept = 0;
    for (const std::string& name : list_checkpoint_names(folder_).names) {
      const auto path = folder_ / name;
      const bool replaced = name == newest + kReplacedSuffix;
      // What is broken neither counts nor goes before there are enough others: it may still tell what happened.
      if (!replaced && kept < options_.keep) {
        kept += name == newest || is_usable(path) ? 1 : 0;
        continue;
      }
      if (held_step_ > 0 && name == checkpoint_name(held_step_)) continue;
      const auto trash = folder_ / (name + kTrashSuffix);
      files_.remove(trash);
      files_.rename(path, trash);
      files_.remove(trash);
    }
  } catch (const std::exception& error) {
    log_warning(concat("old checkpoints stay in ", folder_.string(), ": ", error.what()));
  }
}

void CheckpointWriter::discard(const std::filesystem::path& path) {
  if (comm_.rank() != 0) return;
  try {
    files_.remove(path);
  } catch (const StorageError& error) {
    log_warning(concat("cannot clean up after a failed checkpoint: ", error.what()));
  }
}

}  // namespace rondo
