#pragma once

#include <cstdint>

#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/split.h"

namespace rondo {

/// Items that training is not to know, as if they came to the shop afterwards: how well is what nobody has bought yet
/// recommended?
struct HiddenItemOptions {
  double fraction = 0.0;  ///< of the catalogue, about; 0: none
  uint64_t seed = 1;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const HiddenItemOptions& options);

/// Withholds the items whose row keys draw a number below `fraction` of CounterRandom(seed, 1, kSplit), so that
/// the choice survives an append. Their events neither train (as target, history or positive) nor are they in the
/// histories of valid and test, nor counted; held-out targets stay, and what a user had is still not recommended to it.
/// Sets `split.hidden`; `users_without_history` follows.
void hide_items(const EventLog& events, const Catalog& catalog, const HiddenItemOptions& options, Split& split);

}  // namespace rondo
