#include "trainer/data/civil_time.h"

#include <array>
#include <cctype>

namespace rondo {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"january",   "february", "march",    "april",
                                                      "may",       "june",     "july",     "august",
                                                      "september", "october",  "november", "december"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes a number of at least one and at most `digits` digits, within [least, most], from the front of `text`.
struct Digits {
  int digits, least, most;
};
bool take(std::string_view& text, Digits want, int& out) {
  int count = 0, value = 0;
  while (count < want.digits && static_cast<size_t>(count) < text.size() &&
         is_digit(text[static_cast<size_t>(count)])) {
    value = value * 10 + (text[static_cast<size_t>(count++)] - '0');
  }
  if (count == 0 || value < want.least || value > want.most) return false;
  text.remove_prefix(static_cast<size_t>(count));
  out = value;
  return true;
}

bool take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

/// A fraction of a second without its point; digits beyond the sixth are dropped.
bool take_fraction(std::string_view& text, int& microsecond) {
  if (text.empty() || !is_digit(text.front())) return false;
  microsecond = 0;
  for (int scale = 100'000; !text.empty() && is_digit(text.front()); text.remove_prefix(1), scale /= 10) {
    microsecond += (text.front() - '0') * scale;
  }
  return true;
}

bool starts_with_word(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(text[i])) != lower[i]) return false;
  }
  return true;
}

/// A month's English name, whole or its first three letters.
bool take_month_name(std::string_view& text, int& month) {
  for (size_t i = 0; i < kMonths.size(); ++i) {
    for (const std::string_view name : {kMonths[i], kMonths[i].substr(0, 3)}) {
      if (!starts_with_word(text, name)) continue;
      text.remove_prefix(name.size());
      month = static_cast<int>(i) + 1;
      return true;
    }
  }
  return false;
}

bool take_half_day(std::string_view& text, CivilTime& time) {
  time.has_half_day = true;
  time.afternoon = starts_with_word(text, "pm");
  if (!time.afternoon && !starts_with_word(text, "am")) return false;
  text.remove_prefix(2);
  return true;
}

bool take_offset(std::string_view& text, CivilTime& time) {
  if (take(text, 'Z')) {
    time.offset_seconds = 0;
    return true;
  }
  const bool west = !text.empty() && text.front() == '-';
  if (!take(text, '+') && !take(text, '-')) return false;
  int hours = 0, minutes = 0;
  if (!take(text, {2, 0, 18}, hours)) return false;
  const bool colon = take(text, ':');
  if (!take(text, {2, 0, 59}, minutes) && colon) return false;
  time.offset_seconds = (west ? -60 : 60) * (60 * hours + minutes);
  return true;
}

bool take_two_digit_year(std::string_view& text, int& year) {
  if (!take(text, {2, 0, 99}, year)) return false;
  year += year < 69 ? 2000 : 1900;  // as POSIX strptime does
  return true;
}

bool take_directive(char directive, std::string_view& text, CivilTime& time) {
  switch (directive) {
    case 'Y':
      return take(text, {4, 1, 9999}, time.year);
    case 'y':
      return take_two_digit_year(text, time.year);
    case 'm':
      return take(text, {2, 1, 12}, time.month);
    case 'b':
    case 'B':
      return take_month_name(text, time.month);
    case 'd':
      return take(text, {2, 1, 31}, time.day);
    case 'H':
      return take(text, {2, 0, 23}, time.hour);
    case 'I':
      return take(text, {2, 1, 12}, time.hour);
    case 'p':
      return take_half_day(text, time);
    case 'M':
      return take(text, {2, 0, 59}, time.minute);
    case 'S':
      return take(text, {2, 0, 60}, time.second);  // 60: a leap second, which counts as the next minute
    case 'f':
      return take_fraction(text, time.microsecond);
    case 'z':
      return take_offset(text, time);
    case 'F':
      return take_directive('Y', text, time) && take(text, '-') && take_directive('m', text, time) && take(text, '-') &&
             take_directive('d', text, time);
    case 'T':
      return take_directive('H', text, time) && take(text, ':') && take_directive('M', text, time) && take(text, ':') &&
             take_directive('S', text, time);
    default:
      return take(text, '%');
  }
}

bool is_date(const CivilTime& time) {
  const bool leap = (time.year % 4 == 0 && time.year % 100 != 0) || time.year % 400 == 0;
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return time.day <= kDays[time.month - 1] + (leap && time.month == 2 ? 1 : 0);
}

}  // namespace

std::optional<CivilTime> read_pattern(std::string_view text, std::string_view pattern) {
  CivilTime time;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool matches = pattern[i] == '%' ? take_directive(pattern[++i], text, time) : take(text, pattern[i]);
    if (!matches) return std::nullopt;
  }
  if (!text.empty() || !is_date(time)) return std::nullopt;
  if (time.has_half_day) time.hour = time.hour % 12 + (time.afternoon ? 12 : 0);
  return time;
}

bool is_known_pattern(std::string_view pattern) {
  bool year = false, month = false, day = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') continue;
    if (++i == pattern.size()) return false;
    const char directive = pattern[i];
    if (std::string_view("YymbBdHIpMSfzTF%").find(directive) == std::string_view::npos) return false;
    year |= std::string_view("YyF").find(directive) != std::string_view::npos;
    month |= std::string_view("mbBF").find(directive) != std::string_view::npos;
    day |= std::string_view("dF").find(directive) != std::string_view::npos;
  }
  return year && month && day;
}

std::optional<CivilTime> read_iso(std::string_view text) {
  CivilTime time;
  if (!take_directive('F', text, time) || !is_date(time)) return std::nullopt;
  if (text.empty()) return time;
  if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
  if (!take_directive('H', text, time) || !take(text, ':') || !take_directive('M', text, time)) return std::nullopt;
  if (take(text, ':') && !take_directive('S', text, time)) return std::nullopt;
  if (take(text, '.') && !take_fraction(text, time.microsecond)) return std::nullopt;
  if (!text.empty() && !take_offset(text, time)) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return time;
}

std::optional<int> read_offset(std::string_view text) {
  CivilTime time;
  if (!take_offset(text, time) || !text.empty()) return std::nullopt;
  return time.offset_seconds;
}

}  // namespace rondo
