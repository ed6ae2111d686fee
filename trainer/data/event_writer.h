#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/data/event_spool.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {

/// Writes an events file user by user, in blocks: what EventLog::open reads. One thread.
class EventWriter {
 public:
  /// The file must not exist. Keeps a reference to `item_keys`.
  EventWriter(const std::filesystem::path& file, const std::vector<uint64_t>& item_keys);

  /// All events of the next user, sorted. REQUIRES: keys ascend from call to call.
  void add_user(uint64_t key, std::string_view raw, std::span<const SpooledEvent> events);

  struct Names {
    std::span<const std::string> behaviours;
    bool time_is_order;
  };

  /// Writes what is left; durable on return. Call once.
  void close(const Names& names);

  int64_t events() const { return user_offsets_.back(); }
  int64_t first_time() const { return first_time_; }
  int64_t last_time() const { return last_time_; }

 private:
  void flush();

  Hdf5Writer file_;
  const std::vector<uint64_t>& item_keys_;
  std::vector<uint64_t> user_keys_;
  TextColumn raw_users_;
  std::vector<int64_t> user_offsets_{0};
  int64_t first_time_ = 0, last_time_ = 0;

  // The block that is written next.
  std::vector<uint64_t> items_;
  std::vector<int64_t> times_, baskets_;
  std::vector<uint8_t> behaviours_;
  std::vector<float> values_;
};

}  // namespace rondo
