#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/data/schema.h"

namespace rondo {

/// Reads times of a source as microseconds UTC. One thread.
class TimeReader {
 public:
  /// Throws ConfigError for an unknown zone, or a pattern with a directive that is not known or without a date.
  explicit TimeReader(const EventColumns& events);
  ~TimeReader();

  /// Nothing when `text` is no such time. REQUIRES: the format is not kOrder.
  std::optional<int64_t> read(std::string_view text) const;

 private:
  class Zone;

  TimeKind format_;
  std::string pattern_;
  std::unique_ptr<Zone> zone_;
};

}  // namespace rondo
