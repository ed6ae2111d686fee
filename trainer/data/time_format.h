#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trainer/data/schema.h"

namespace rondo {

/// Reads times of a source as microseconds UTC.
class TimeReader {
 public:
  /// Throws ConfigError for an unknown zone or a pattern with a directive other than %Y %m %d %H %M %S.
  TimeReader(TimeKind kind, const std::string& pattern, const std::string& zone);
  ~TimeReader();

  /// Nothing when `text` is no such time. A local time that a change of clocks skips or repeats is read with the
  /// offset before the change.
  std::optional<int64_t> read(std::string_view text) const;

 private:
  struct Zone;

  std::optional<int64_t> read_pattern(std::string_view text) const;

  TimeKind kind_;
  std::string pattern_;
  std::unique_ptr<Zone> zone_;
};

}  // namespace rondo
