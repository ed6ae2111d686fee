#include "trainer/data/quarantine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr size_t kShownBytes = 200;

/// Rows of a source are not all of one length: what is left is taken for three times as many rows as it seems.
constexpr double kRowsAllowance = 3.0;

/// Below so many rejected rows no source is given up early: its end is near, or its beginning odd.
constexpr int64_t kHopelessRows = 1000;

}  // namespace

Quarantine::Quarantine(const std::filesystem::path& file, double max_rejected_fraction)
    : path_(file), file_(std::fopen(file.c_str(), "a")), max_fraction_(max_rejected_fraction) {
  if (!file_) {
    throw StorageError(concat("cannot create ", file.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }
}

void Quarantine::reject(const Row& row, std::string_view reason) {
  ++rows_;
  ++rejected_;
  const auto entry = by_reason_.try_emplace(std::string(reason)).first;
  if (entry->second++ == 0) example_[entry->first] = concat(row.source.string(), ":", row.line);
  std::string shown(row.text.substr(0, kShownBytes));
  std::replace_if(shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  const std::string line = concat(row.source.string(), ":", row.line, "\t", reason, "\t", shown, "\n");
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size()) {
    throw StorageError(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
  }
}

void Quarantine::flush() {
  if (std::fflush(file_.get()) != 0) {
    throw StorageError(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
  }
}

void Quarantine::check_fraction() const {
  if (static_cast<double>(rejected_) > max_fraction_ * static_cast<double>(rows_)) fail_fraction();
}

void Quarantine::check_hopeless(double part_read) const {
  if (rejected_ < kHopelessRows || part_read <= 0.0) return;
  const double rows = static_cast<double>(rows_) * (1.0 + kRowsAllowance * (1.0 - part_read) / part_read);
  if (static_cast<double>(rejected_) > max_fraction_ * rows) fail_fraction();
}

void Quarantine::fail_fraction() const {
  const auto worst = std::max_element(by_reason_.begin(), by_reason_.end(),
                                      [](const auto& a, const auto& b) { return a.second < b.second; });
  throw DataError(concat(rejected_, " of ", rows_, " rows were rejected, schema.max_rejected_fraction is ",
                         max_fraction_, ". Most often: ", worst->first, " (", worst->second, "), first at ",
                         example_.find(worst->first)->second, ". All of them: ", path_.string()));
}

}  // namespace rondo
