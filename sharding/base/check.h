#pragma once

#include <sstream>
#include <string>

#include "sharding/base/error.h"

namespace rondo::detail {

/// Joins its arguments as `<<` prints them.
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  static_cast<void>((out << ... << parts));
  return std::move(out).str();
}

/// Throws InternalError "file:line: check failed: expression (details) context".
[[noreturn]] void check_failed(const char* file, int line, const char* expression, const std::string& context);

}  // namespace rondo::detail

namespace rondo {
using detail::concat;
}  // namespace rondo

/// A contract between parts of Rondo: throws InternalError when it does not hold. What a user can cause (a job, a
/// file, a peer) throws its own error type instead.
#define RONDO_CHECK(condition, ...)                                                                        \
  do {                                                                                                     \
    if (!(condition)) [[unlikely]]                                                                         \
      ::rondo::detail::check_failed(__FILE__, __LINE__, #condition, ::rondo::detail::concat(__VA_ARGS__)); \
  } while (false)

#define RONDO_CHECK_OP_(actual, op, expected, ...)                                                                   \
  do {                                                                                                               \
    const auto& rondo_actual = (actual);                                                                             \
    const auto& rondo_expected = (expected);                                                                         \
    if (!(rondo_actual op rondo_expected)) [[unlikely]]                                                              \
      ::rondo::detail::check_failed(__FILE__, __LINE__, #actual " " #op " " #expected,                               \
                                    ::rondo::detail::concat("(actual ", rondo_actual, ", expected ", rondo_expected, \
                                                            ") " __VA_OPT__(, ) __VA_ARGS__));                       \
  } while (false)

#define RONDO_CHECK_EQ(actual, expected, ...) RONDO_CHECK_OP_(actual, ==, expected __VA_OPT__(, ) __VA_ARGS__)
#define RONDO_CHECK_NE(actual, expected, ...) RONDO_CHECK_OP_(actual, !=, expected __VA_OPT__(, ) __VA_ARGS__)
#define RONDO_CHECK_LT(actual, expected, ...) RONDO_CHECK_OP_(actual, <, expected __VA_OPT__(, ) __VA_ARGS__)
#define RONDO_CHECK_LE(actual, expected, ...) RONDO_CHECK_OP_(actual, <=, expected __VA_OPT__(, ) __VA_ARGS__)
#define RONDO_CHECK_GT(actual, expected, ...) RONDO_CHECK_OP_(actual, >, expected __VA_OPT__(, ) __VA_ARGS__)
#define RONDO_CHECK_GE(actual, expected, ...) RONDO_CHECK_OP_(actual, >=, expected __VA_OPT__(, ) __VA_ARGS__)
