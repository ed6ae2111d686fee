#pragma once

#include <cstdint>
#include <filesystem>

#include "sharding/base/progress.h"

namespace rondo {

/// A shop made from a seed.
struct SynthOptions {
  int64_t users = 2'000;    ///< from 1 to `events`
  int64_t items = 3'000;    ///< from 10 to 100 million
  int64_t events = 60'000;  ///< from 1,000 to 100 million
  uint64_t seed = 1;
  bool gzip = false;  ///< events.csv.gz instead of events.csv
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const SynthOptions& options);

/// What `synthesize` wrote.
struct SynthReport {
  std::filesystem::path catalog;
  std::filesystem::path events;
  std::filesystem::path schema;
  int64_t events_written = 0;
};

/// Writes a shop into `folder`, which is made; files of these names are replaced, each when it is complete:
///   catalog.csv       item_id,title,description,category,brand,price
///   events.csv[.gz]   user_id,item_id,time,behaviour,session_id: user by user, each in order of time (Unix seconds)
///   schema.textproto  a job overlay, for `rondo ingest --job`, that maps the two
///
/// Users like a style, a material and a few types of things, and change their minds (synth_walk.h); words say what an
/// item is (synth_words.h); popularity follows a power law; a third of the items come during the year that the events
/// span. Every user has at least min(5, events / users) events, a few have many times the mean.
///
/// The same options give the same text on every machine. Memory grows with the items, not with users or events. Throws
/// ConfigError, StorageError (kCannotCreate, kIoOrDeadline).
SynthReport synthesize(const SynthOptions& options, const std::filesystem::path& folder, Progress& progress);

}  // namespace rondo
