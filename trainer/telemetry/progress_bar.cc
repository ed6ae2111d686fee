#include "trainer/telemetry/progress_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <utility>

#include "sharding/base/number_text.h"

namespace rondo {
namespace {

constexpr double kDrawSeconds = 0.2;
constexpr int kBarWidth = 24;
constexpr std::string_view kEraseLine = "\r\033[K";

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ProgressStyle style_of_standard_error(double line_seconds) {
  ProgressStyle style{.terminal = ::isatty(STDERR_FILENO) == 1, .line_seconds = line_seconds};
  winsize size{};
  if (style.terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.columns = size.ws_col;
  return style;
}

}  // namespace

ProgressBar::ProgressBar(double line_seconds)
    : ProgressBar(std::cerr, style_of_standard_error(line_seconds), steady_seconds) {}

ProgressBar::ProgressBar(std::ostream& out, const ProgressStyle& style, std::function<double()> clock)
    : out_(out), style_(style), clock_(std::move(clock)) {}

void ProgressBar::begin(std::string_view stage, int64_t total, std::string_view unit) {
  stage_ = stage;
  unit_ = unit;
  total_ = total;
  done_ = 0;
  first_done_ = -1;
  begun_ = now_ = shown_at_ = clock_();
}

void ProgressBar::advance(int64_t done) {
  done_ = done;
  now_ = clock_();
  if (first_done_ < 0) {
    first_done_ = done;
    first_at_ = now_;
  }
  if (now_ - shown_at_ < (style_.terminal ? kDrawSeconds : style_.line_seconds)) return;
  shown_at_ = now_;
  draw();
}

void ProgressBar::end() {
  now_ = clock_();
  const double seconds = now_ - begun_;
  std::string line = fmt::format("{}: {} in {}", stage_, amount(static_cast<double>(done_)), duration_text(seconds));
  const double per_second = done_ == first_done_ ? static_cast<double>(done_) / std::max(seconds, 1e-9) : rate();
  if (done_ > 0) line += fmt::format(", {}/s", amount(per_second));
  erase();
  out_ << line << std::endl;
}

void ProgressBar::erase() {
  if (style_.terminal) out_ << kEraseLine << std::flush;
}

std::string ProgressBar::amount(double units) const {
  if (unit_ == "bytes") return bytes_text(static_cast<int64_t>(units));
  if (units < 10.0 && units != static_cast<double>(static_cast<int64_t>(units))) {
    return fmt::format("{:.2f} {}", units, unit_);
  }
  return with_thousands(static_cast<int64_t>(units + 0.5)) + " " + unit_;
}

double ProgressBar::rate() const {
  const double seconds = now_ - first_at_;
  return done_ > first_done_ && seconds > 0.0 ? static_cast<double>(done_ - first_done_) / seconds : 0.0;
}

std::string ProgressBar::progress_text() const {
  std::string text = amount(static_cast<double>(done_));
  if (total_ > 0) {
    text += fmt::format(" of {} ({:.0f} %)", amount(static_cast<double>(total_)),
                        100.0 * static_cast<double>(done_) / static_cast<double>(total_));
  }
  if (const double per_second = rate(); per_second > 0.0) {
    text += fmt::format(", {}/s", amount(per_second));
    if (total_ > done_)
      text += fmt::format(", {} left", duration_text(static_cast<double>(total_ - done_) / per_second));
  }
  return text;
}

std::string ProgressBar::bar() const {
  if (total_ <= 0) return "";
  const double part = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
  const int filled = static_cast<int>(part * kBarWidth);
  return fmt::format("[{:#<{}}{:.<{}}] ", "", filled, "", kBarWidth - filled);
}

void ProgressBar::draw() {
  if (!style_.terminal) {
    out_ << stage_ << ": " << progress_text() << std::endl;
    return;
  }
  const std::string line = stage_ + " " + bar() + progress_text();
  out_ << kEraseLine << line.substr(0, static_cast<size_t>(std::max(style_.columns - 1, 1))) << std::flush;
}

}  // namespace rondo
