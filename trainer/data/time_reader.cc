#include "trainer/data/time_reader.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <charconv>
#include <cmath>

#include "sharding/base/check.h"
#include "trainer/data/civil_time.h"

namespace rondo {
namespace {

constexpr int64_t kMicros = 1'000'000;

/// The latest time that is read: the end of the year 9999.
constexpr int64_t kLatest = 253'402'300'800LL * kMicros;

std::optional<int64_t> read_unix(std::string_view text, int64_t micros_per_unit) {
  const char* end = text.data() + text.size();
  int64_t whole = 0;
  const auto result = std::from_chars(text.data(), end, whole);
  if (result.ec == std::errc() && result.ptr == end) {
    if (std::abs(whole) > kLatest / micros_per_unit) return std::nullopt;
    return whole * micros_per_unit;
  }
  double value = 0;
  const auto real = std::from_chars(text.data(), end, value);
  const double micros = value * static_cast<double>(micros_per_unit);
  if (real.ec != std::errc() || real.ptr != end || !(std::abs(micros) <= static_cast<double>(kLatest))) {
    return std::nullopt;
  }
  return std::llround(micros);
}

}  // namespace

/// Offsets of a zone, by local time.
class TimeReader::Zone {
 public:
  explicit Zone(const std::string& name) {
    if (name.empty() || name == "UTC") return;
    if (const auto offset = read_offset(name)) {
      fixed_offset_ = *offset;
      return;
    }
    is_fixed_ = false;
    if (!absl::LoadTimeZone(name, &zone_)) {
      throw ConfigError(concat("schema.events.time_zone \"", name,
                               "\" is not known: expected UTC, an offset such as +01:00, or an IANA name such as "
                               "Europe/London (the system's package tzdata holds them)"));
    }
  }

  int64_t to_micros(const CivilTime& time) const {
    const int64_t seconds =
        days_from_civil(time.year, time.month, time.day) * 86'400 + time.hour * 3600 + time.minute * 60 + time.second;
    if (is_fixed_ || time.offset_seconds) {
      return (seconds - time.offset_seconds.value_or(fixed_offset_)) * kMicros + time.microsecond;
    }
    const absl::CivilSecond civil(time.year, time.month, time.day, time.hour, time.minute, time.second);
    return absl::ToUnixSeconds(zone_.At(civil).pre) * kMicros + time.microsecond;
  }

 private:
  bool is_fixed_ = true;
  int fixed_offset_ = 0;
  absl::TimeZone zone_;
};

TimeReader::TimeReader(const EventColumns& events)
    : format_(events.time_kind), pattern_(events.time_pattern), zone_(std::make_unique<Zone>(events.time_zone)) {
  if (format_ == TimeKind::kPattern && !is_known_pattern(pattern_)) {
    throw ConfigError(
        concat("schema.events.time_pattern \"", pattern_,
               "\": expected a year, a month and a day of the directives %Y %y %m %d %H %I %p %M %S %f %b "
               "%B %z %T %F and literal characters"));
  }
}

TimeReader::~TimeReader() = default;

std::optional<int64_t> TimeReader::read(std::string_view text) const {
  std::optional<CivilTime> time;
  switch (format_) {
    case TimeKind::kSeconds:
      return read_unix(text, kMicros);
    case TimeKind::kMillis:
      return read_unix(text, 1000);
    case TimeKind::kMicros:
      return read_unix(text, 1);
    case TimeKind::kPattern:
      time = read_pattern(text, pattern_);
      break;
    case TimeKind::kIso:
      time = read_iso(text);
      break;
    case TimeKind::kOrder:
      RONDO_CHECK(false, "a source without times has none to read");
  }
  if (!time) return std::nullopt;
  return zone_->to_micros(*time);
}

}  // namespace rondo
