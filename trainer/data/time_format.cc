#include "trainer/data/time_format.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <charconv>
#include <cmath>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// The fields of a pattern, as read.
struct CivilFields {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0;
};

/// Reads `digits` digits at most from the front of `text`.
bool take_number(std::string_view& text, size_t digits, int& out) {
  size_t count = 0;
  out = 0;
  while (count < digits && count < text.size() && text[count] >= '0' && text[count] <= '9') {
    out = out * 10 + (text[count++] - '0');
  }
  text.remove_prefix(count);
  return count > 0;
}

bool take_directive(char directive, std::string_view& text, CivilFields& fields) {
  switch (directive) {
    case 'Y':
      return take_number(text, 4, fields.year);
    case 'm':
      return take_number(text, 2, fields.month) && fields.month >= 1 && fields.month <= 12;
    case 'd':
      return take_number(text, 2, fields.day) && fields.day >= 1 && fields.day <= 31;
    case 'H':
      return take_number(text, 2, fields.hour) && fields.hour <= 23;
    case 'M':
      return take_number(text, 2, fields.minute) && fields.minute <= 59;
    case 'S':
      return take_number(text, 2, fields.second) && fields.second <= 59;
    default:
      return false;
  }
}

std::optional<int64_t> read_unix(std::string_view text, double microseconds_per_unit) {
  int64_t whole = 0;
  const char* end = text.data() + text.size();
  if (const auto result = std::from_chars(text.data(), end, whole); result.ec == std::errc() && result.ptr == end) {
    const __int128 micros = static_cast<__int128>(whole) * static_cast<int64_t>(microseconds_per_unit);
    if (micros > INT64_MAX || micros < INT64_MIN) return std::nullopt;
    return static_cast<int64_t>(micros);
  }
  double value = 0;
  const auto result = std::from_chars(text.data(), end, value);
  const double micros = value * microseconds_per_unit;
  if (result.ec != std::errc() || result.ptr != end || !(std::abs(micros) < 9e18)) return std::nullopt;
  return std::llround(micros);
}

}  // namespace

struct TimeReader::Zone {
  absl::TimeZone zone;
  bool utc = true;
};

TimeReader::TimeReader(TimeKind kind, const std::string& pattern, const std::string& zone)
    : kind_(kind), pattern_(pattern), zone_(std::make_unique<Zone>()) {
  zone_->utc = zone.empty() || zone == "UTC";
  if (!zone_->utc && !absl::LoadTimeZone(zone, &zone_->zone)) {
    throw ConfigError(concat("events.time_zone \"", zone,
                             "\" is not known: expected an IANA name such as Europe/London ",
                             "(the package tzdata holds them)"));
  }
  for (size_t i = 0; kind == TimeKind::kPattern && i < pattern_.size(); ++i) {
    if (pattern_[i] != '%') continue;
    const char directive = i + 1 < pattern_.size() ? pattern_[++i] : '\0';
    if (std::string_view("YmdHMS").find(directive) == std::string_view::npos) {
      throw ConfigError(
          concat("events.time_pattern \"", pattern_, "\": expected %Y, %m, %d, %H, %M or %S, got %", directive));
    }
  }
}

TimeReader::~TimeReader() = default;

std::optional<int64_t> TimeReader::read(std::string_view text) const {
  switch (kind_) {
    case TimeKind::kOrder:
      return 0;
    case TimeKind::kSeconds:
      return read_unix(text, 1e6);
    case TimeKind::kMillis:
      return read_unix(text, 1e3);
    case TimeKind::kMicros:
      return read_unix(text, 1.0);
    case TimeKind::kPattern:
      return read_pattern(text);
  }
  return std::nullopt;
}

std::optional<int64_t> TimeReader::read_pattern(std::string_view text) const {
  CivilFields fields;
  for (size_t i = 0; i < pattern_.size(); ++i) {
    if (pattern_[i] == '%') {
      if (!take_directive(pattern_[++i], text, fields)) return std::nullopt;
    } else {
      if (text.empty() || text.front() != pattern_[i]) return std::nullopt;
      text.remove_prefix(1);
    }
  }
  if (!text.empty()) return std::nullopt;
  const absl::CivilSecond civil(fields.year, fields.month, fields.day, fields.hour, fields.minute, fields.second);
  if (civil.day() != fields.day) return std::nullopt;  // 31 February became March
  if (zone_->utc) return (civil - absl::CivilSecond(1970, 1, 1, 0, 0, 0)) * 1'000'000;
  return absl::ToUnixMicros(zone_->zone.At(civil).pre);
}

}  // namespace rondo
