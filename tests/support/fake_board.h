#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rondo::testing {

/// What a process tells the others about the doubles of its device. Which fields count depends on the kind.
struct FakeNote {
  enum class Kind : uint8_t {
    // of the machine
    kViolation,  // text
    kChanges,    // number of them
    kWaits,      // what it waits for (text), changes before its last try (number)
    kWaitsNoMore,
    kDeadlock,
    kQuiet,  // no verdict of a deadlock before this time (number, ns)
    // of NCCL; `key` is the communicator
    kJoins,     // its name (text), its ranks (number), who (rank)
    kLife,      // rank, value
    kError,     // rank, result (value), text
    kMeets,     // a side of a meeting: text, agreement
    kStarts,    // the same: data
    kDelivers,  // a meeting
    kNeeds,     // a side of a meeting, which is to start now
  };
  Kind kind = Kind::kChanges;
  int32_t device = 0;  // of who says it
  int32_t rank = 0;    // in the communicator, or side of a meeting
  int32_t value = 0;
  int32_t source = -1;
  int32_t target = -1;
  int64_t number = 0;
  std::string key{};
  std::string text{};
  std::string agreement{};
  std::vector<std::byte> data{};
};

/// A file on which the processes of one test tell each other what their doubles do: one after the other, so that all
/// read the same notes in the same order.
class FakeBoard {
 public:
  /// `path` is there, and empty before the first process of the test opens it.
  FakeBoard(const std::string& path, int device);
  ~FakeBoard();
  FakeBoard(const FakeBoard&) = delete;
  FakeBoard& operator=(const FakeBoard&) = delete;

  /// The one device of this process.
  int device() const { return device_; }

  /// Keeps the other processes out, until `leave`, and hands over what they have written since the last time.
  void enter(const std::function<void(const FakeNote&)>& read);
  void leave();

  /// REQUIRES: between enter and leave.
  void write(FakeNote note);

  /// Has somebody else written something? Any thread, at any time.
  bool has_news() const;

 private:
  FakeNote read_note();
  void read_bytes(void* to, size_t bytes);

  int file_ = -1;
  int device_;
  std::atomic<int64_t> position_ = 0;  // before the first unread note
};

}  // namespace rondo::testing
