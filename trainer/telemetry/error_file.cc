#include "trainer/telemetry/error_file.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "trainer/storage/file_system.h"

namespace rondo {

void write_error_file(const std::filesystem::path& path, const ErrorRecord& record) noexcept try {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  const nlohmann::json object{
      {"rank", record.rank},       {"host", host},
      {"step", record.step},       {"code", record.exit_code},
      {"message", record.message}, {"time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
  make_posix_file_system()->replace_file(path,
                                         object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
} catch (...) {
}

}  // namespace rondo
