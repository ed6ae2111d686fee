#include "trainer/telemetry/memory_use.h"

#include <fstream>
#include <sstream>
#include <string>

namespace rondo {

MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t kibibytes = 0;
    words >> name >> kibibytes;
    if (name == "VmRSS:") use.resident_bytes = kibibytes * 1024;
    if (name == "VmHWM:") use.peak_bytes = kibibytes * 1024;
  }
  return use;
}

}  // namespace rondo
