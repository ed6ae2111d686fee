#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace rondo {

/// An event on its way from the log to the dataset.
struct SpooledEvent {
  int64_t time = 0;       // microseconds UTC
  int64_t order = 0;      // place in the source: breaks ties
  uint64_t row_hash = 0;  // of the source row: exact duplicates
  int64_t basket = 0;
  int32_t user = 0;  // index of first sight
  int32_t item = 0;
  float value = 1.0F;
  uint8_t behaviour = 0;
};

/// Events in temporary files, sorted by user, time and order with memory that does not depend on their number: written
/// as they come, dealt to one file a range of users, each sorted by itself. One thread.
class EventSpool {
 public:
  /// Files are made in `folder`, and removed with the spool. `memory_events`: as many are sorted at once (a single user
  /// with more is sorted whole).
  EventSpool(std::filesystem::path folder, int64_t memory_events);
  ~EventSpool();

  void add(const SpooledEvent& event);
  int64_t size() const { return events_; }

  /// Calls `visit` with all events of one user after the other, by time and order; users in the order of `rank[user]`,
  /// a permutation of their indices. Call once, after the last `add`.
  void visit_sorted(std::span<const int32_t> rank, const std::function<void(std::span<SpooledEvent>)>& visit);

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Closer>;

  File open(const std::filesystem::path& path, const char* mode) const;
  std::vector<int32_t> partition_of_users(std::span<const int32_t> rank) const;
  void visit_partition(const std::filesystem::path& path, std::span<const int32_t> rank,
                       const std::function<void(std::span<SpooledEvent>)>& visit) const;

  std::filesystem::path folder_;
  int64_t memory_events_;
  File all_;
  int64_t events_ = 0;
  std::vector<int64_t> events_of_user_;
};

}  // namespace rondo
