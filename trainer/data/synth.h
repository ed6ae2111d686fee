#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "sharding/base/progress.h"

namespace rondo {

/// A shop made from a seed.
struct SynthOptions {
  int64_t users = 2000;
  int64_t items = 3000;
  int64_t events = 60'000;  ///< 10^3 to 10^8
  uint64_t seed = 1;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const SynthOptions& options);

/// What synthesize wrote.
struct SynthReport {
  std::filesystem::path catalog;
  std::filesystem::path events;
  int64_t events_written = 0;
};

/// Writes `catalog.csv` (item_id,title,description,category,brand,price) and `events.csv`
/// (user_id,item_id,time,behaviour) into `folder`, which is made.
///
/// The shop: every item has a style (hidden), a category and a brand that belong to a few styles; title and description
/// draw most words from the style's vocabulary, so text carries the style. A user moves through a few styles, staying
/// with one for a while, so the recent history says most. Popularity follows a power law, a part of the items appears
/// only late, and an event is a view, sometimes followed by cart and buy. Same bytes for the same options on every
/// machine: draws compare integers. Memory grows with users and items, not with events. Throws StorageError.
SynthReport synthesize(const SynthOptions& options, const std::filesystem::path& folder, Progress& progress);

}  // namespace rondo
