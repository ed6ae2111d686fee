#include "sharding/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <vector>

#include "sharding/base/check.h"

namespace rondo {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string escape_control(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  return out;
}

}  // namespace

void start_logging(const LogOptions& options) {
  auto console = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  console->set_level(to_spdlog(options.rank == 0 ? options.console_level : LogLevel::kError));
  std::vector<spdlog::sink_ptr> sinks{console};
  if (!options.file.empty()) {
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file.string()));
    } catch (const spdlog::spdlog_ex& error) {
      throw StorageError(concat("cannot create the log file ", options.file.string(), ": ", error.what()),
                         ExitCode::kCannotCreate);
    }
  }
  auto logger = std::make_shared<spdlog::logger>("rondo", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::debug);
  const auto width = std::to_string(options.world - 1).size();
  logger->set_pattern(options.world == 1 ? std::string("%Y-%m-%dT%H:%M:%S.%e %L %v")
                                         : fmt::format("%Y-%m-%dT%H:%M:%S.%e [{:0{}}] %L %v", options.rank, width));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void log(LogLevel level, std::string_view message) { spdlog::log(to_spdlog(level), "{}", escape_control(message)); }

}  // namespace rondo
