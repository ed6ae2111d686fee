#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>

namespace rondo {

/// Why a rank failed.
struct ErrorRecord {
  int rank = 0;
  int64_t step = 0;
  int exit_code = 0;
  std::string message;
  std::string type{};   ///< error_type_of the exception; empty: not known
  std::string phase{};  ///< "start", "step", "evaluation", "checkpoint"; empty: not known
};

/// "ConfigError", "DataError", "PeerError", "StorageError", "InternalError", or "exception".
const char* error_type_of(const std::exception& error);

/// Writes error/rank-00000.json, at once or not at all: rank, host, step, phase, type, code, message, time (UTC). Says
/// nothing when it cannot: the error it tells of is what counts. The earliest time of all ranks' files is the cause.
void write_error_file(const std::filesystem::path& path, const ErrorRecord& record) noexcept;

}  // namespace rondo
