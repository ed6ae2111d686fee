#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rondo {

/// Names in a dataset folder (DESIGN 8).
inline constexpr char kCatalogFile[] = "catalog.h5";
inline constexpr char kDatasetRecordFile[] = "dataset.textproto";
inline constexpr char kRejectedFile[] = "rejected.tsv";

/// Version of the layout of catalogue and events files.
inline constexpr int kDatasetFormatVersion = 1;

/// "events-00000.h5": the events of one window.
std::string events_file(int window);

/// "examples-00000.h5": the texts with classes of one window.
std::string examples_file(int window);

/// The events files of a folder, in the order of their windows. Throws DataError (kMissingInput) when there is none.
std::vector<std::filesystem::path> events_files_of(const std::filesystem::path& dataset_folder);

}  // namespace rondo
