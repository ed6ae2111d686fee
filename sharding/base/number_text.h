#pragma once

#include <cstdint>
#include <string>

namespace rondo {

/// Numbers as a person reads them.

std::string with_thousands(int64_t value);  // 1234567 -> "1,234,567"
std::string bytes_text(int64_t bytes);      // 1500 -> "1.5 kB", powers of 1000
std::string duration_text(
    double seconds);  // 59.4 -> "59 s", 303 -> "5 min 3 s", 7384 -> "2 h 3 min"; below 10: "1.25 s"
std::string utc_text(int64_t unix_seconds);  // "2026-11-24T13:44:00Z"

}  // namespace rondo
