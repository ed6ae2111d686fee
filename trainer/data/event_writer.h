#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "trainer/data/event_spool.h"
#include "trainer/data/key_dictionary.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {

constexpr char kEventsFile[] = "events-00000.h5";

/// Writes an events file user by user, in blocks: what EventLog::open reads.
class EventWriter {
 public:
  EventWriter(const std::filesystem::path& folder, const std::vector<uint64_t>& item_keys);

  /// All events of the next user, sorted; exact duplicates are dropped.
  void add_user(uint64_t key, std::string_view raw, std::span<const SpooledEvent> events);

  /// Writes what is left. Call once.
  void close(const std::vector<std::string>& behaviour_names);

  int64_t events() const { return events_; }
  int64_t duplicates() const { return duplicates_; }

 private:
  void flush();

  Hdf5Writer file_;
  const std::vector<uint64_t>& item_keys_;
  std::vector<uint64_t> user_keys_;
  TextColumn raw_users_;
  std::vector<int64_t> user_offsets_{0};
  std::vector<uint64_t> items_;
  std::vector<int64_t> times_, baskets_;
  std::vector<uint8_t> behaviours_;
  std::vector<float> values_;
  std::unordered_set<uint64_t> seen_;  // fingerprints of this user's events at run_time_
  int64_t run_time_ = 0;
  int64_t events_ = 0;
  int64_t duplicates_ = 0;
};

}  // namespace rondo
