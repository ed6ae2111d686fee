#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace rondo {

/// A date and a time of day as a source writes them.
struct CivilTime {
  int year = 1970, month = 1, day = 1;
  int hour = 0, minute = 0, second = 0;
  int microsecond = 0;
  std::optional<int> offset_seconds;  // east of UTC, where the text says so

  /// Midday and midnight of a 12-hour clock ("12" is 0) until `read_pattern` ends.
  bool has_half_day = false;
  bool afternoon = false;
};

/// Days from 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
constexpr int64_t days_from_civil(int year, int month, int day) {
  const int64_t y = year - (month <= 2 ? 1 : 0);
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

/// Reads by a pattern of the directives that proto/schema.proto lists. Nothing when the text does not match it whole,
/// or is no date (31 February). REQUIRES: is_known_pattern(pattern).
std::optional<CivilTime> read_pattern(std::string_view text, std::string_view pattern);

/// Nothing but known directives, among them a year, a month and a day.
bool is_known_pattern(std::string_view pattern);

/// ISO 8601 as proto/schema.proto describes it.
std::optional<CivilTime> read_iso(std::string_view text);

/// "+01:00", "-0530", "+02", "Z", in seconds east of UTC.
std::optional<int> read_offset(std::string_view text);

}  // namespace rondo
