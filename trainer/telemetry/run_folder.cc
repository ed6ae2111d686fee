#include "trainer/telemetry/run_folder.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "sharding/base/check.h"
#include "trainer/storage/file_system.h"

namespace rondo {

std::filesystem::path RunFolder::default_root(const std::string& job_name) {
  const std::string time = fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(std::time(nullptr)));
  const std::filesystem::path folder = std::filesystem::path("runs") / job_name;
  std::filesystem::path root = folder / time;
  for (int number = 2; std::filesystem::exists(root); ++number) root = folder / fmt::format("{}-{}", time, number);
  return root;
}

void RunFolder::make() const {
  const auto files = make_posix_file_system();
  files->make_folder(root_ / "log");
  files->make_folder(root_ / "error");
}

void RunFolder::forget_errors() const {
  try {
    for (const auto& entry : std::filesystem::directory_iterator(root_ / "error")) {
      if (entry.path().extension() == ".json") std::filesystem::remove(entry.path());
    }
  } catch (const std::filesystem::filesystem_error& error) {
    throw StorageError(concat("cannot remove old error files: ", error.what()));
  }
}

std::filesystem::path RunFolder::log(int rank) const { return root_ / "log" / fmt::format("rank-{:05}.log", rank); }
std::filesystem::path RunFolder::error(int rank) const {
  return root_ / "error" / fmt::format("rank-{:05}.json", rank);
}

}  // namespace rondo
