#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sharding/handle/cuda_api.h"
#include "tests/support/fake_board.h"

namespace rondo::testing {

/// What has happened before: of every stream of a device, how many of its operations.
using FakeClock = std::vector<uint64_t>;

struct FakeStream;

/// One operation of a stream. `run` goes as far as it can and returns true once it is over.
struct FakeOperation {
  std::string name;
  std::function<bool(FakeStream&)> run;
  FakeClock after;  // what the host had seen the end of at the call
  bool started = false;
};

struct FakeStream {
  int device = 0;
  size_t number = 0;  // place in the clocks of the device
  bool alive = true;
  bool stuck = false;    // a wait of it was given up: nothing runs any more
  bool running = false;  // further up in the same chain of calls
  FakeClock clock;
  std::deque<std::shared_ptr<FakeOperation>> queue;  // shared with the one who runs it
};

/// One for the threads of this process and, with a board, for all processes of a test.
class FakeMutex {
 public:
  void lock() {
    mutex_.lock();
    if (on_lock) on_lock();
  }
  void unlock() {
    if (on_unlock) on_unlock();
    mutex_.unlock();
  }
  std::function<void()> on_lock;
  std::function<void()> on_unlock;

 private:
  std::mutex mutex_;
};

using FakeLock = std::unique_lock<FakeMutex>;

/// A double of the CUDA runtime over host memory: the devices of ranks that are threads of this process or, with a
/// board, processes of one device each (DESIGN 12). A process has a thread that runs what the others wait for.
///
/// It is stricter than the real thing. The stream of handle nullptr, on which LibTorch computes, is the calling thread:
/// what it is given runs at once, and a wait for an event runs all that the event depends on. Every other stream is
/// lazy: an operation runs at the last legal moment, at a local wait for it, at the third poll of its event, or when a
/// waiting peer needs it. Two streams that touch the same device memory with no event between them, a handle or memory
/// used after its end, another thread than that of the rank, a wait for an event that was never recorded, and waits
/// that no rank can end are violations; `violations` has them, both sides named.
class FakeMachine {
 public:
  /// A wait of a compute stream that lasts longer than `patience` is given up: the stream is stuck, as on a device that
  /// waits for a peer for ever, and the calls return as if nothing had happened.
  explicit FakeMachine(int devices, std::chrono::milliseconds patience = std::chrono::seconds(20),
                       FakeBoard* board = nullptr);
  ~FakeMachine();

  /// The table for the thread of one rank, which uses device `device` and no other.
  CudaApi cuda(int device);

  int devices() const { return static_cast<int>(devices_.size()); }

  /// What was done that the real thing forbids, or lets pass by luck.
  std::vector<std::string> violations() const;

  /// What was made and not released.
  std::vector<std::string> leaks() const;

  // For doubles of libraries that work on streams; the lock is held by the caller.

  FakeMutex& mutex() const { return mutex_; }
  /// Is the device of this process? Those of ranks that are threads all are.
  bool is_here(int device) const { return board_ == nullptr || board_->device() == device; }
  /// To the other processes, if there are any; what they tell goes to `on_note`.
  void tell(FakeNote note);
  std::function<void(const FakeNote&)> on_note;
  /// Runs what other processes wait for, as far as it goes; may be empty.
  std::function<void()> on_needs;
  void violation(const std::string& text);
  /// Something may run that could not before.
  void changed();
  /// No verdict of a deadlock before this time: something will change by itself.
  void expect_change_at(std::chrono::steady_clock::time_point when);
  FakeStream& stream_of(CudaStream handle, int device);
  /// Adds an operation; one of a compute stream runs before this returns.
  void enqueue(FakeLock& lock, FakeStream& stream, std::string name, std::function<bool(FakeStream&)> run);
  /// Runs `stream` until `reached`, without waiting; returns reached().
  bool advance(FakeStream& stream, const std::function<bool()>& reached);
  /// Waits of this device's compute stream end at once from now on unless they can be met: what it waits for never
  /// comes.
  void give_up_waits(int device) {
    devices_[static_cast<size_t>(device)]->hopeless = true;
    changed();
  }
  /// The operation that is running on `stream` reads or writes memory.
  void touch(FakeStream& stream, const void* memory, size_t bytes, bool writes);
  /// Only one thread calls for a device.
  void check_thread(int device);

 private:
  struct Record {  // of an event, once
    FakeStream* stream = nullptr;
    FakeClock clock;
    bool done = false;
    int polls = 0;
  };
  struct Event {
    int device = 0;
    bool alive = true;
    std::shared_ptr<Record> last;  // shared with the operations that wait for it
  };
  struct Access {
    const std::byte* begin;
    const std::byte* end;
    bool writes;
    size_t stream;
    uint64_t epoch;
    std::string name;
  };
  struct Memory {
    std::unique_ptr<std::byte[]> bytes;
    size_t size = 0;
    bool alive = true;
    std::vector<Access> accesses;
  };
  struct Device {
    std::vector<std::unique_ptr<FakeStream>> streams;  // the first is the compute stream
    std::vector<std::unique_ptr<Event>> events;
    std::map<const std::byte*, Memory> memory;  // by first byte
    std::map<const std::byte*, std::unique_ptr<std::byte[]>> pinned;
    FakeClock host;
    std::thread::id thread;
    bool hopeless = false;
  };
  struct Waiter {
    std::string what;
    uint64_t seen = 0;  // changes before its last try
  };

  bool run_until(FakeLock& lock, FakeStream& stream, const std::function<bool()>& reached, const std::string& what);
  void wait_as(int device, const std::string& what);
  void share(FakeBoard& board);
  void read(const FakeNote& note);
  void serve(const std::stop_token& stop);
  bool all_wait_in_vain() const;
  Event* event_of(CudaEvent handle, int device);
  Memory* memory_of(Device& device, const std::byte* at);
  void check_access(FakeStream& stream, Memory& memory, const Access& access);
  void add_device_calls(CudaApi& api, int device);
  void add_stream_calls(CudaApi& api, int device);
  void add_event_calls(CudaApi& api, int device);
  void add_memory_calls(CudaApi& api, int device);
  CudaStatus wait_event(CudaStream stream, CudaEvent event, int device);
  CudaStatus record_event(CudaEvent event, CudaStream stream, int device);
  CudaStatus query_event(CudaEvent event, int device);
  CudaStatus copy(int device, void* to, const void* from, size_t bytes, CudaStream stream);

  const std::chrono::milliseconds patience_;
  FakeBoard* const board_;
  mutable FakeMutex mutex_;
  std::condition_variable_any condition_;
  // Guarded by the mutex:
  std::vector<std::unique_ptr<Device>> devices_;
  std::set<std::string> violations_;
  std::map<int, Waiter> waiters_;  // by device
  uint64_t changes_ = 1;
  uint64_t untold_changes_ = 0;  // of this process, since the others could know
  std::chrono::steady_clock::time_point quiet_until_{};
  bool deadlock_ = false;
  std::jthread server_;
};

}  // namespace rondo::testing
