#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/manifest.h"

namespace rondo {

/// The folder `checkpoints/` of a run and the checkpoint folders in it (DESIGN 9), as one process sees them. Nothing
/// here changes a file, and nothing here talks to other ranks.

inline constexpr char kLatestName[] = "LATEST";

/// What a folder is called while it is written, while another of the same step takes its place, and on its way out.
inline constexpr char kTemporarySuffix[] = ".tmp.";
inline constexpr char kReplacedSuffix[] = ".old";
inline constexpr char kTrashSuffix[] = ".trash";

/// "step-000001200".
std::string checkpoint_name(int64_t step);

/// The step of "step-000001200" or "step-000001200.old"; none for every other name.
std::optional<int64_t> step_of(std::string_view name);

/// Names of the checkpoints in `folder`, complete or not, in the order in which a resume tries them: the one that
/// LATEST names, then earlier steps, latest first, then later ones.
struct CheckpointNames {
  std::vector<std::string> names;
  std::string latest;   // what LATEST names; empty if it names none of them
  std::string problem;  // why not; empty: there is no checkpoint, or all is well
};
CheckpointNames list_checkpoint_names(const std::filesystem::path& folder);

/// Is there anything that a resume would read? Then a start from scratch must be asked for.
bool has_checkpoints(const std::filesystem::path& folder);

/// The bytes of its MANIFEST, not parsed. Throws StorageError if there is none, DataError (kMissingInput) if there is
/// no such folder.
std::string read_manifest_text(const std::filesystem::path& checkpoint);

/// Throws StorageError, naming the file, unless `checkpoint` holds exactly the files of the manifest, each a plain file
/// of the size stated there.
void verify_sizes(const std::filesystem::path& checkpoint, const Manifest& manifest);

/// Throws StorageError, naming the file, unless the files have the digests of the manifest: of files `share`,
/// `share` + `shares`, ... of the list.
void verify_digests(const std::filesystem::path& checkpoint, const Manifest& manifest, int share = 0, int shares = 1);

/// One checkpoint for a person: what `rondo inspect` shows.
struct CheckpointDescription {
  std::string name;
  bool is_latest = false;
  std::optional<Manifest> manifest;
  int64_t bytes = 0;    // of all its files
  std::string problem;  // why it cannot be used; empty: manifest, sizes (and digests, if asked for) are in order
};

/// Of one checkpoint folder. With `digests` it reads every byte. Throws DataError (kMissingInput) if there is no such
/// folder; else problems are in the description.
CheckpointDescription describe_checkpoint(const std::filesystem::path& checkpoint, bool digests);

/// Of all checkpoints of a `checkpoints/` folder, in the order of list_checkpoint_names.
std::vector<CheckpointDescription> describe_checkpoints(const std::filesystem::path& folder, bool digests);

}  // namespace rondo
