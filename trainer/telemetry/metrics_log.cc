#include "trainer/telemetry/metrics_log.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sharding/base/check.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

/// Is it a whole line, of `step` or before, or of no step?
bool is_kept(const std::string& line, int64_t step) {
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return false;
  const auto found = object.find("step");
  return found == object.end() || !found->is_number() || found->get<int64_t>() <= step;
}

/// The whole lines of `text` up to `step`.
std::string lines_until(const std::string& text, int64_t step) {
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (is_kept(line, step)) kept += line + "\n";
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(std::filesystem::path path, int64_t resumed_step) : path_(std::move(path)) {
  if (std::filesystem::exists(path_)) {
    make_posix_file_system()->replace_file(path_, lines_until(read_file(path_), resumed_step));
  }
  file_.reset(std::fopen(path_.c_str(), "a"));
  if (!file_) {
    throw StorageError(concat("cannot create ", path_.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }
}

void MetricsLog::write(const std::string& object) {
  RONDO_CHECK(object.find('\n') == std::string::npos, "a line of ", path_.string(), " has a line break");
  const std::string line = object + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0) {
    throw StorageError(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
  }
}

}  // namespace rondo
