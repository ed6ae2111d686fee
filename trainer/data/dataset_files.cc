#include "trainer/data/dataset_files.h"

#include <cstdio>

#include "sharding/base/check.h"

namespace rondo {

std::string events_file(int window) {
  char name[32];
  std::snprintf(name, sizeof name, "events-%05d.h5", window);
  return name;
}

std::string examples_file(int window) {
  char name[32];
  std::snprintf(name, sizeof name, "examples-%05d.h5", window);
  return name;
}

std::vector<std::filesystem::path> events_files_of(const std::filesystem::path& dataset_folder) {
  std::vector<std::filesystem::path> files;
  while (true) {
    const auto file = dataset_folder / events_file(static_cast<int>(files.size()));
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) break;
    files.push_back(file);
  }
  if (files.empty()) {
    throw DataError(concat("no dataset in ", dataset_folder.string(), ": there is no ", events_file(0),
                           " (`rondo ingest` makes one)"),
                    ExitCode::kMissingInput);
  }
  return files;
}

}  // namespace rondo
