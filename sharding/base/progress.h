#pragma once

#include <cstdint>
#include <string_view>

namespace rondo {

/// How a low room tells the person at the screen how far it is. One thread.
class Progress {
 public:
  virtual ~Progress() = default;

  /// A stage begins; `total` units of `unit` ("rows", "bytes", "steps"), or 0 when unknown.
  virtual void begin(std::string_view stage, int64_t total, std::string_view unit) = 0;

  /// `done` units so far. Cheap: may be called for every block.
  virtual void advance(int64_t done) = 0;

  /// The stage has ended.
  virtual void end() = 0;
};

/// Says nothing.
class SilentProgress final : public Progress {
 public:
  void begin(std::string_view, int64_t, std::string_view) override {}
  void advance(int64_t) override {}
  void end() override {}
};

}  // namespace rondo
