#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sharding/base/progress.h"
#include "sharding/base/stopwatch.h"

namespace rondo {

/// Progress on standard error: a bar that moves if that is a terminal, else one line every `line_seconds`.
class ProgressBar final : public Progress {
 public:
  explicit ProgressBar(double line_seconds = 10.0);

  void begin(std::string_view stage, int64_t total, std::string_view unit) override;
  void advance(int64_t done) override;
  void end() override;

 private:
  void show(bool last);

  bool terminal_;
  double line_seconds_;
  std::string stage_, unit_;
  int64_t total_ = 0, done_ = 0;
  Stopwatch since_begin_, since_shown_;
};

}  // namespace rondo
