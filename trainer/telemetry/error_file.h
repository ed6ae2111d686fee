#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace rondo {

/// Why a rank failed.
struct ErrorRecord {
  int rank = 0;
  int64_t step = 0;
  int exit_code = 0;
  std::string message;
};

/// Writes error/rank-00000.json: rank, host, step, code, message, time (UTC). Says nothing when it cannot: the error it
/// tells of is what counts.
void write_error_file(const std::filesystem::path& path, const ErrorRecord& record) noexcept;

}  // namespace rondo
