#include "trainer/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr size_t kFewestDigits = 9, kMostDigits = 18;
constexpr int64_t kLongestManifest = int64_t{64} << 20;
constexpr int64_t kLongestLatest = 256;

/// Names in a folder. Throws StorageError if it cannot be listed; an absent one is empty.
std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error); !error && entry != std::filesystem::end(entry);
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw StorageError(concat("cannot list ", folder.string(), ": ", error.message()));
  }
  return names;
}

/// What LATEST says, or why it says nothing of use.
struct Latest {
  std::string name;
  std::string problem;
};

Latest read_latest(const std::filesystem::path& folder) {
  const auto path = folder / kLatestName;
  std::string text;
  try {
    text = read_file(path, kLongestLatest);
  } catch (const DataError& error) {
    return {"", concat(path.string(), " is missing")};
  } catch (const StorageError& error) {
    return {"", error.what()};
  }
  if (text.ends_with('\n')) text.pop_back();
  // Only a name of ours may be joined to the folder: no path leads out of it.
  if (!step_of(text)) return {"", concat(path.string(), " does not hold the name of a checkpoint")};
  return {text, ""};
}

/// Tries the step of LATEST, then earlier ones, latest first, then later ones (of a run that went on from an earlier
/// checkpoint because they were broken).
void sort_by_turn(std::vector<std::string>& names, const std::string& latest) {
  const int64_t first = latest.empty() ? INT64_MAX : *step_of(latest);
  const auto turn = [&](const std::string& name) {
    const int64_t step = *step_of(name);
    return std::tuple(name != latest, step > first, -step, name.ends_with(kReplacedSuffix));
  };
  std::ranges::sort(names, [&](const std::string& a, const std::string& b) { return turn(a) < turn(b); });
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  char name[40];
  std::snprintf(name, sizeof(name), "step-%09lld", static_cast<long long>(step));
  return name;
}

std::optional<int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  if (name.ends_with(kReplacedSuffix)) name.remove_suffix(sizeof(kReplacedSuffix) - 1);
  if (name.size() < kFewestDigits || name.size() > kMostDigits) return std::nullopt;
  if (name.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  int64_t step = 0;
  for (const char digit : name) step = step * 10 + (digit - '0');
  return step;
}

CheckpointNames list_checkpoint_names(const std::filesystem::path& folder) {
  CheckpointNames found;
  found.names = names_in(folder);
  const bool nothing = std::ranges::none_of(
      found.names, [](const std::string& name) { return step_of(name).has_value() || name == kLatestName; });
  std::erase_if(found.names, [](const std::string& name) { return !step_of(name); });
  if (nothing) return found;
  Latest latest = read_latest(folder);
  if (latest.problem.empty() && std::ranges::find(found.names, latest.name) == found.names.end()) {
    latest = {"", concat(kLatestName, " names ", latest.name, ", which is missing")};
  }
  found.latest = latest.name;
  found.problem = latest.problem;
  sort_by_turn(found.names, found.latest);
  return found;
}

bool has_checkpoints(const std::filesystem::path& folder) {
  const CheckpointNames found = list_checkpoint_names(folder);
  return !found.names.empty() || !found.problem.empty();
}

std::string read_manifest_text(const std::filesystem::path& checkpoint) {
  if (!std::filesystem::is_directory(checkpoint)) {
    throw DataError(concat("no such checkpoint: ", checkpoint.string()), ExitCode::kMissingInput);
  }
  const auto path = checkpoint / kManifestName;
  if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(path))) {
    throw StorageError(concat(path.string(), " is missing"));
  }
  return read_file(path, kLongestManifest);
}

void verify_sizes(const std::filesystem::path& checkpoint, const Manifest& manifest) {
  for (const std::string& name : names_in(checkpoint)) {
    if (name != kManifestName && manifest.file(name) == nullptr) {
      throw StorageError(concat((checkpoint / name).string(), " does not belong to the checkpoint"));
    }
  }
  for (const ManifestFile& file : manifest.files) {
    const auto path = checkpoint / file.name;
    std::error_code error;
    const auto status = std::filesystem::symlink_status(path, error);
    if (!std::filesystem::exists(status)) throw StorageError(concat(path.string(), " is missing"));
    if (!std::filesystem::is_regular_file(status)) throw StorageError(concat(path.string(), " is no plain file"));
    const auto bytes = std::filesystem::file_size(path, error);
    if (error) throw StorageError(concat("cannot read ", path.string(), ": ", error.message()));
    if (static_cast<int64_t>(bytes) != file.bytes) {
      throw StorageError(concat(path.string(), " has ", bytes, " bytes, expected ", file.bytes));
    }
  }
}

void verify_digests(const std::filesystem::path& checkpoint, const Manifest& manifest, int share, int shares) {
  const auto files = static_cast<int64_t>(manifest.files.size());
  const int64_t mine = share < files ? (files - share + shares - 1) / shares : 0;
  parallel_for(mine, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const ManifestFile& file = manifest.files[static_cast<size_t>(share + i * shares)];
      const auto path = checkpoint / file.name;
      if (sha256_of_file(path) == file.sha256) continue;
      throw StorageError(concat(path.string(), " does not fit its SHA-256 in the manifest: its content changed"));
    }
  });
}

CheckpointDescription describe_checkpoint(const std::filesystem::path& checkpoint, bool digests) {
  CheckpointDescription description{
      .name = checkpoint.filename().string(), .is_latest = false, .manifest = std::nullopt, .bytes = 0, .problem = ""};
  description.is_latest = read_latest(checkpoint.parent_path()).name == description.name;
  try {
    description.manifest = parse_manifest(read_manifest_text(checkpoint), checkpoint / kManifestName);
    description.bytes = description.manifest->bytes();
    verify_sizes(checkpoint, *description.manifest);
    if (digests) verify_digests(checkpoint, *description.manifest);
  } catch (const StorageError& error) {
    description.problem = error.what();
  } catch (const ConfigError& error) {
    description.problem = error.what();
  }
  return description;
}

std::vector<CheckpointDescription> describe_checkpoints(const std::filesystem::path& folder, bool digests) {
  std::vector<CheckpointDescription> all;
  for (const std::string& name : list_checkpoint_names(folder).names) {
    all.push_back(describe_checkpoint(folder / name, digests));
  }
  return all;
}

}  // namespace rondo
