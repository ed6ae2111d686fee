#include "sharding/base/check.h"

#include <cstring>

namespace rondo::detail {

void check_failed(const char* file, int line, const char* expression, const std::string& context) {
  const char* name = std::strrchr(file, '/');
  std::string message = concat(name != nullptr ? name + 1 : file, ":", line, ": check failed: ", expression);
  if (!context.empty()) message += " " + context;
  throw InternalError(message);
}

}  // namespace rondo::detail
