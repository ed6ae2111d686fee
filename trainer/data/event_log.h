#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/catalog.h"

namespace rondo {

/// All events of a dataset, sorted by user, then time, then file order: `events-*.h5` joined with the catalogue.
/// Layout of a file, which holds one window (texts as `bytes` and `offsets`):
///
///   users/keys uint64 [u], ascending; users/raw_keys: texts [u]; users/offsets int64 [u + 1]
///   events/item_keys uint64 [n]; events/time int64 [n]; events/behaviour uint8 [n]; events/value float32 [n];
///   events/basket int64 [n]; behaviour_names: texts
///   attributes format_version, time_is_order
struct EventLog {
  /// Reads every events file of the folder and merges them. Throws DataError or StorageError naming the file.
  static EventLog open(const std::filesystem::path& dataset_folder, const Catalog& catalog);

  /// Place of a user by its raw key, -1 if unknown. A scan: for a person's question, not for a loop.
  int64_t find_user(std::string_view raw) const;

  int64_t users() const { return static_cast<int64_t>(user_keys.size()); }
  int64_t events() const { return static_cast<int64_t>(item.size()); }

  std::vector<uint64_t> user_keys;    // [users], ascending
  TextColumn raw_users;               // [users], as in the source
  std::vector<int64_t> user_offsets;  // [users + 1] into the arrays below
  std::vector<int32_t> item;          // [events], place in the catalogue
  std::vector<int64_t> time;          // [events], microseconds UTC (an ordinal where the source has order only)
  std::vector<uint8_t> behaviour;     // [events], index into behaviour_names
  std::vector<float> value;           // [events], rating, quantity, ...; 1 where the source has none
  std::vector<int64_t> basket;        // [events], equal for the events of one basket of a user
  std::vector<std::string> behaviour_names;
  bool time_is_order = false;  // `time` is an ordinal
};

/// The users of one events file.
struct WindowUsers {
  std::vector<uint64_t> keys;
  TextColumn raw;
};

/// Throws StorageError naming the file.
WindowUsers read_window_users(const std::filesystem::path& events_file);

}  // namespace rondo
