#include "trainer/telemetry/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace rondo {
namespace {

constexpr double kBarSeconds = 0.2;
constexpr int kBarWidth = 30;

/// 1234567 as "1.23 M".
std::string short_number(double value) {
  for (const auto& [limit, suffix] : {std::pair{1e9, " G"}, {1e6, " M"}, {1e3, " k"}}) {
    if (value >= limit) return fmt::format("{:.2f}{}", value / limit, suffix);
  }
  return fmt::format("{:.0f}", value);
}

}  // namespace

ProgressBar::ProgressBar(double line_seconds) : terminal_(::isatty(STDERR_FILENO) == 1), line_seconds_(line_seconds) {}

void ProgressBar::begin(std::string_view stage, int64_t total, std::string_view unit) {
  stage_ = stage;
  unit_ = unit;
  total_ = total;
  done_ = 0;
  since_begin_.restart();
  since_shown_.restart();
}

void ProgressBar::advance(int64_t done) {
  done_ = done;
  if (since_shown_.seconds() < (terminal_ ? kBarSeconds : line_seconds_)) return;
  since_shown_.restart();
  show(false);
}

void ProgressBar::end() {
  if (total_ > 0) done_ = std::max(done_, total_);
  show(true);
}

void ProgressBar::show(bool last) {
  const double seconds = std::max(since_begin_.seconds(), 1e-9);
  const double rate = static_cast<double>(done_) / seconds;
  std::string line = fmt::format("{}: {} {}, {} {}/s", stage_, short_number(static_cast<double>(done_)), unit_,
                                 short_number(rate), unit_);
  if (total_ > 0 && !last) {
    const double fraction = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
    line += fmt::format(", {:.0f} %, {:.0f} s left", 100 * fraction,
                        rate > 0 ? static_cast<double>(total_ - done_) / rate : 0.0);
    if (terminal_) {
      const int filled = static_cast<int>(fraction * kBarWidth);
      line = fmt::format("[{:#<{}}{: <{}}] {}", "", filled, "", kBarWidth - filled, line);
    }
  }
  if (last) line += fmt::format(" ({:.1f} s)", seconds);
  std::fprintf(stderr, terminal_ ? "\r\033[K%s%s" : "%s%s", line.c_str(), terminal_ && !last ? "" : "\n");
  std::fflush(stderr);
}

}  // namespace rondo
