#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace rondo {

/// How deep to look.
enum class InspectionDepth : uint8_t {
  kRecords,  ///< what the folder says of itself, names and sizes of its files
  kDigests,  ///< and every byte of them, against the digests
};

/// What `rondo inspect` finds in a folder. Each object begins with "kind" and "folder"; one that is not as it was
/// written has "problem", a text.

/// One dataset folder. Throws what `describe_dataset` throws.
nlohmann::ordered_json inspect_dataset(const std::filesystem::path& folder, InspectionDepth depth);

/// One checkpoint. Throws DataError (kMissingInput) if there is no such folder.
nlohmann::ordered_json inspect_checkpoint(const std::filesystem::path& folder, InspectionDepth depth);

/// A run folder, or its folder checkpoints/: all checkpoints in a list, the newest one that is in order as
/// "checkpoint"; of a run folder its item index and error files too.
nlohmann::ordered_json inspect_run(const std::filesystem::path& folder, InspectionDepth depth);

/// A stored item index.
nlohmann::ordered_json inspect_index(const std::filesystem::path& folder, InspectionDepth depth);

/// Whichever of these `folder` is. Throws DataError (kMissingInput) for anything else.
nlohmann::ordered_json inspect_folder(const std::filesystem::path& folder, InspectionDepth depth);

/// Every "problem" in the object, one a line; empty: all is in order.
std::string problems_in(const nlohmann::ordered_json& object);

/// For people: a line a field, a table for each list of objects. Ends with a newline.
std::string inspection_text(const nlohmann::ordered_json& object);

}  // namespace rondo
