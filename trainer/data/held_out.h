#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "trainer/data/event_log.h"
#include "trainer/data/split.h"

namespace rondo {

/// What an event is in a split; an event may be several. Bits of a byte.
enum class Role : uint8_t {
  kTrains = 1,
  kSeenByValid = 2,  // in the history of its user's case of valid
  kSeenByTest = 4,
  kValidTarget = 8,
  kTestTarget = 16,
};

constexpr uint8_t as_bit(Role role) { return static_cast<uint8_t>(role); }

/// Where a global time split cuts: events at `valid` or later are held out, at `test` or later for test.
struct TimeCuts {
  int64_t valid = std::numeric_limits<int64_t>::max();
  int64_t test = std::numeric_limits<int64_t>::max();
};

/// The roles of all events ([events], sums of `Role` bits) by the rules of `Split`. Sets `cuts` under global time.
std::vector<uint8_t> assign_roles(const EventLog& events, const SplitOptions& options, TimeCuts& cuts);

}  // namespace rondo
