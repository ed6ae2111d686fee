#include "trainer/telemetry/error_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "sharding/base/error.h"
#include "sharding/base/number_text.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

/// With milliseconds: which rank failed first is what a person asks.
std::string now_text() {
  using std::chrono::milliseconds;
  const auto now = std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  std::string text = utc_text(now.count() / 1000);
  text.pop_back();  // Z
  return fmt::format("{}.{:03}Z", text, now.count() % 1000);
}

}  // namespace

const char* error_type_of(const std::exception& error) {
  if (dynamic_cast<const ConfigError*>(&error) != nullptr) return "ConfigError";
  if (dynamic_cast<const DataError*>(&error) != nullptr) return "DataError";
  if (dynamic_cast<const PeerError*>(&error) != nullptr) return "PeerError";
  if (dynamic_cast<const StorageError*>(&error) != nullptr) return "StorageError";
  if (dynamic_cast<const InternalError*>(&error) != nullptr) return "InternalError";
  return "exception";
}

void write_error_file(const std::filesystem::path& path, const ErrorRecord& record) noexcept try {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const nlohmann::ordered_json object{{"rank", record.rank},       {"host", host.data()}, {"step", record.step},
                                      {"phase", record.phase},     {"type", record.type}, {"code", record.exit_code},
                                      {"message", record.message}, {"time", now_text()}};
  make_posix_file_system()->replace_file(path,
                                         object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
} catch (...) {
}

}  // namespace rondo
