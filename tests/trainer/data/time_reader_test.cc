#include "trainer/data/time_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/base/error.h"
#include "trainer/data/civil_time.h"

namespace rondo {
namespace {

constexpr int64_t kSecond = 1'000'000;

std::optional<int64_t> read(TimeKind kind, std::string_view text, const std::string& pattern = "",
                            const std::string& zone = "UTC") {
  EventColumns events;
  events.time_kind = kind;
  events.time_pattern = pattern;
  events.time_zone = zone;
  return TimeReader(events).read(text);
}

TEST(TimeReader, ReadsUnixTimes) {
  EXPECT_EQ(read(TimeKind::kSeconds, "1260759144"), 1'260'759'144 * kSecond);
  EXPECT_EQ(read(TimeKind::kSeconds, "1260759144.25"), 1'260'759'144 * kSecond + 250'000);
  EXPECT_EQ(read(TimeKind::kMillis, "-1"), -1000);
  EXPECT_EQ(read(TimeKind::kMicros, "7"), 7);
  for (const char* bad : {"", "x", "1x", "nan", "inf", "1e300", "99999999999999999999", "9223372036854775807"}) {
    EXPECT_EQ(read(TimeKind::kSeconds, bad), std::nullopt) << bad;
  }
}

TEST(TimeReader, DaysFollowTheCalendar) {
  int64_t days = days_from_civil(1899, 12, 31);
  EXPECT_EQ(days_from_civil(1970, 1, 1), 0);
  EXPECT_EQ(days_from_civil(2000, 2, 29), 11'016);
  for (int year = 1900; year < 2110; ++year) {
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int lengths[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (int month = 1; month <= 12; ++month) {
      for (int day = 1; day <= lengths[month - 1]; ++day) ASSERT_EQ(days_from_civil(year, month, day), ++days);
    }
  }
}

TEST(TimeReader, ReadsPatterns) {
  const int64_t noon = 1'291'204'800 * kSecond;  // 2010-12-01T12:00:00Z, by date(1)
  EXPECT_EQ(read(TimeKind::kPattern, "01/12/2010 12:00", "%d/%m/%Y %H:%M"), noon);
  EXPECT_EQ(read(TimeKind::kPattern, "1/12/10 12:00 PM", "%d/%m/%y %I:%M %p"), noon);
  EXPECT_EQ(read(TimeKind::kPattern, "Dec 1, 2010 at 12:00:00.5", "%b %d, %Y at %T.%f"), noon + 500'000);
  EXPECT_EQ(read(TimeKind::kPattern, "1 December 2010 100% 13:00+0100", "%d %B %Y 100%% %H:%M%z"), noon);
  EXPECT_EQ(read(TimeKind::kPattern, "2010-12-01 12:00am", "%F %I:%M%p"), noon - 12 * 3600 * kSecond);
  for (const char* bad :
       {"31/02/2010 12:00", "01/13/2010 12:00", "01/12/2010 24:00", "01/12/2010 12:00x", "01/12/2010"}) {
    EXPECT_EQ(read(TimeKind::kPattern, bad, "%d/%m/%Y %H:%M"), std::nullopt) << bad;
  }
}

TEST(TimeReader, ReadsIsoTimes) {
  const int64_t noon = 1'291'204'800 * kSecond;
  for (const char* same : {"2010-12-01T12:00:00", "2010-12-01 12:00", "2010-12-01T12:00:00.000Z",
                           "2010-12-01T13:30+01:30", "2010-12-01T07:00:00-0500"}) {
    EXPECT_EQ(read(TimeKind::kIso, same), noon) << same;
  }
  EXPECT_EQ(read(TimeKind::kIso, "2010-12-01"), noon - 12 * 3600 * kSecond);
  for (const char* bad :
       {"2010-12-01T", "2010-12-01T12", "2010-12-01T12:00:", "2010-12-01X12:00", "2010-12-32", "10:00"}) {
    EXPECT_EQ(read(TimeKind::kIso, bad), std::nullopt) << bad;
  }
}

TEST(TimeReader, AppliesTheZone) {
  const int64_t noon = 1'291'204'800 * kSecond;
  EXPECT_EQ(read(TimeKind::kIso, "2010-12-01T12:00:00", "", "+01:00"), noon - 3600 * kSecond);
  EXPECT_EQ(read(TimeKind::kIso, "2010-12-01T12:00:00", "", "Europe/London"), noon);
  EXPECT_EQ(read(TimeKind::kIso, "2010-07-01T13:00:00", "", "Europe/London"),
            read(TimeKind::kIso, "2010-07-01T12:00:00"));  // summer
  EXPECT_EQ(read(TimeKind::kIso, "2010-07-01T13:00:00Z", "", "Europe/London"),
            read(TimeKind::kIso, "2010-07-01T13:00:00"));  // its own offset counts
}

TEST(TimeReader, RefusesUnknownPatternsAndZones) {
  const auto message = [](TimeKind kind, const char* pattern, const char* zone) {
    try {
      read(kind, "", pattern, zone);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  EXPECT_THAT(message(TimeKind::kPattern, "%Y-%m-%q", "UTC"), ::testing::HasSubstr("%Y-%m-%q"));
  EXPECT_THAT(message(TimeKind::kPattern, "%H:%M", "UTC"), ::testing::HasSubstr("expected a year, a month and a day"));
  EXPECT_THAT(message(TimeKind::kPattern, "%F %", "UTC"), ::testing::HasSubstr("time_pattern"));
  EXPECT_THAT(message(TimeKind::kIso, "", "Europe/Atlantis"), ::testing::HasSubstr("Europe/Atlantis"));
}

}  // namespace
}  // namespace rondo
