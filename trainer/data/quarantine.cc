#include "trainer/data/quarantine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr size_t kShownBytes = 200;

}  // namespace

Quarantine::Quarantine(const std::filesystem::path& file, double max_rejected_fraction)
    : path_(file), file_(std::fopen(file.c_str(), "w")), max_fraction_(max_rejected_fraction) {
  if (!file_) {
    throw StorageError(concat("cannot create ", file.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }
}

void Quarantine::reject(const std::filesystem::path& source, int64_t line, std::string_view reason,
                        std::string_view row) {
  ++rows_;
  ++rejected_;
  ++by_reason_[std::string(reason)];
  example_.try_emplace(std::string(reason), concat(source.string(), ":", line));
  std::string shown(row.substr(0, kShownBytes));
  std::replace_if(shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  if (std::fprintf(file_.get(), "%s:%lld\t%.*s\t%s\n", source.c_str(), static_cast<long long>(line),
                   static_cast<int>(reason.size()), reason.data(), shown.c_str()) < 0) {
    throw StorageError(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
  }
}

void Quarantine::check_fraction() const {
  if (static_cast<double>(rejected_) <= max_fraction_ * static_cast<double>(rows_)) return;
  const auto worst = std::max_element(by_reason_.begin(), by_reason_.end(),
                                      [](const auto& a, const auto& b) { return a.second < b.second; });
  throw DataError(concat(rejected_, " of ", rows_, " rows were rejected, more than schema.max_rejected_fraction ",
                         max_fraction_, " allows. Most: \"", worst->first, "\" (", worst->second, " rows), first at ",
                         example_.at(worst->first), ". The rejected rows are in ", path_.string()));
}

}  // namespace rondo
