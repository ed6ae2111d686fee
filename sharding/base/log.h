#pragma once

#include <filesystem>
#include <string_view>

namespace rondo {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogOptions {
  int rank = 0;
  int world = 1;

  /// Lowest level that the console (standard error) shows. Ranks other than 0 show errors only.
  LogLevel console_level = LogLevel::kInfo;

  /// Everything of this rank goes here too; empty: nowhere. Its folder must exist.
  std::filesystem::path file;
};

/// Sets up logging of the process; call once, before other threads log. Throws StorageError if the file cannot be made.
void start_logging(const LogOptions& options);

/// One line; control characters of `message` are escaped so that data cannot forge a line. Any thread.
void log(LogLevel level, std::string_view message);

inline void log_info(std::string_view message) { log(LogLevel::kInfo, message); }
inline void log_warning(std::string_view message) { log(LogLevel::kWarning, message); }
inline void log_error(std::string_view message) { log(LogLevel::kError, message); }

}  // namespace rondo
