#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

#include "sharding/base/progress.h"

namespace rondo {

/// Where and how often progress is shown.
struct ProgressStyle {
  bool terminal = false;       ///< one line that is drawn again and again; else a line per interval, for logs
  int columns = 80;            ///< of the terminal; longer lines are cut
  double line_seconds = 10.0;  ///< between lines, not on a terminal
};

/// Progress with rate and remaining time. Rates count from the first `advance` of a stage, so under resume a first call
/// at once sets where that is.
class ProgressBar final : public Progress {
 public:
  /// On standard error, as a bar if that is a terminal.
  explicit ProgressBar(double line_seconds = 10.0);

  /// `clock`: seconds since any moment.
  ProgressBar(std::ostream& out, const ProgressStyle& style, std::function<double()> clock);

  void begin(std::string_view stage, int64_t total, std::string_view unit) override;
  void advance(int64_t done) override;
  void end() override;

  /// Clears the line of a terminal, so that something else can be written; the next `advance` draws again.
  void erase();

 private:
  std::string amount(double units) const;
  double rate() const;  // units a second; 0: not known yet
  std::string progress_text() const;
  std::string bar() const;
  void draw();

  std::ostream& out_;
  ProgressStyle style_;
  std::function<double()> clock_;
  std::string stage_, unit_;
  int64_t total_ = 0, done_ = 0, first_done_ = -1;
  double begun_ = 0.0, first_at_ = 0.0, now_ = 0.0, shown_at_ = 0.0;
};

}  // namespace rondo
