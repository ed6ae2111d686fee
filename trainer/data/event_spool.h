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
  int64_t time = 0;       // microseconds UTC, or an ordinal
  uint64_t row_hash = 0;  // of the source row and the place in it: equal for exact duplicates
  int64_t basket = 0;
  int32_t user = 0;  // place in the dictionary of users
  int32_t item = 0;  // place in the catalogue
  float value = 1.0F;
  uint8_t behaviour = 0;
  bool starts_row = true;  // of the source; a row with a list has more
};

/// Sorts events by user and time, with memory that does not grow with their number: they go to one temporary file as
/// they come, from there to one file a range of users, and each of those is sorted in memory. One thread.
class EventSpool {
 public:
  /// Files are made in `folder`, and removed with the spool. `memory_events`: as many are sorted at once; more when one
  /// user has more, or when there are more than 256 times as many.
  EventSpool(std::filesystem::path folder, int64_t memory_events);
  ~EventSpool();

  /// Throws StorageError.
  void add(const SpooledEvent& event) {
    if (pending_.size() == kBlock) flush();
    pending_.push_back(event);
    const auto user = static_cast<size_t>(event.user);
    if (user >= events_of_user_.size()) events_of_user_.resize(user + 1);
    ++events_of_user_[user];
    ++events_;
  }

  int64_t size() const { return events_; }

  using Visit = std::function<void(int32_t user, std::span<SpooledEvent> events)>;

  /// Calls `visit` with all events of one user after the other, by time, ties as they were added. `users` are the users
  /// in the order wanted; those without events are left out. Call once, after the last `add`. Throws StorageError.
  void visit_sorted(std::span<const int32_t> users, const Visit& visit);

 private:
  static constexpr size_t kBlock = 1 << 12;  // events

  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Closer>;

  /// Users that are sorted together.
  struct Range {
    std::span<const int32_t> users;
    int64_t events = 0;
  };

  File open(const std::filesystem::path& path, const char* mode) const;
  std::filesystem::path part_path(size_t part) const;
  void flush();
  size_t read_block(std::FILE* file, std::vector<SpooledEvent>& block) const;
  void write_block(std::span<const SpooledEvent> block, std::FILE* file) const;

  std::vector<Range> make_ranges(std::span<const int32_t> users) const;
  void deal(const std::vector<Range>& ranges);
  void visit_range(const Range& range, std::FILE* file, const Visit& visit) const;
  int64_t count_of(int32_t user) const;

  std::filesystem::path folder_;
  int64_t memory_events_;
  File all_;
  std::vector<SpooledEvent> pending_;
  std::vector<int64_t> events_of_user_;
  int64_t events_ = 0;
};

}  // namespace rondo
