#include "tests/support/fake_cuda.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sharding/base/check.h"

namespace rondo::testing {
namespace {

constexpr int kPollsBeforeRunning = 2;
constexpr std::chrono::microseconds kPauseOfServer{250};

void join(FakeClock& clock, const FakeClock& other) {
  clock.resize(std::max(clock.size(), other.size()));
  for (size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

bool knows(const FakeClock& clock, size_t stream, uint64_t epoch) {
  return stream < clock.size() && clock[stream] >= epoch;
}

}  // namespace

FakeMachine::FakeMachine(int devices, std::chrono::milliseconds patience, FakeBoard* board)
    : patience_(patience), board_(board) {
  for (int device = 0; device < devices; ++device) {
    auto made = std::make_unique<Device>();
    made->streams.push_back(std::make_unique<FakeStream>());
    made->streams.back()->device = device;
    devices_.push_back(std::move(made));
  }
  if (board != nullptr) share(*board);
}

FakeMachine::~FakeMachine() = default;

void FakeMachine::share(FakeBoard& board) {
  mutex_.on_lock = [this, &board] {
    bool news = false;
    board.enter([&](const FakeNote& note) {
      news = true;
      read(note);
    });
    if (news) condition_.notify_all();
  };
  mutex_.on_unlock = [this, &board] {
    if (untold_changes_ > 0) {
      tell({.kind = FakeNote::Kind::kChanges, .number = static_cast<int64_t>(std::exchange(untold_changes_, 0))});
    }
    board.leave();
  };
  server_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
}

void FakeMachine::tell(FakeNote note) {
  if (board_ != nullptr) board_->write(std::move(note));
}

void FakeMachine::read(const FakeNote& note) {
  switch (note.kind) {
    case FakeNote::Kind::kViolation:
      violations_.insert(note.text);
      break;
    case FakeNote::Kind::kChanges:
      changes_ += static_cast<uint64_t>(note.number);
      break;
    case FakeNote::Kind::kWaits:
      waiters_[note.device] = {note.text, static_cast<uint64_t>(note.number)};
      break;
    case FakeNote::Kind::kWaitsNoMore:
      waiters_.erase(note.device);
      break;
    case FakeNote::Kind::kDeadlock:
      deadlock_ = true;
      break;
    case FakeNote::Kind::kQuiet:
      quiet_until_ =
          std::max(quiet_until_, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(note.number)));
      break;
    default:
      if (on_note) on_note(note);
  }
}

/// The thread of a process that other processes may wait for while its rank is busy elsewhere.
void FakeMachine::serve(const std::stop_token& stop) {
  for (int round = 0; !stop.stop_requested(); ++round) {
    if (board_->has_news() || round % 8 == 0) {
      const std::lock_guard lock(mutex_);
      if (on_needs) on_needs();
    }
    std::this_thread::sleep_for(kPauseOfServer);
  }
}

std::vector<std::string> FakeMachine::violations() const {
  const std::lock_guard lock(mutex_);
  return {violations_.begin(), violations_.end()};
}

std::vector<std::string> FakeMachine::leaks() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> found;
  for (size_t d = 0; d < devices_.size(); ++d) {
    const auto report = [&](const char* what, const auto& things, const auto& is_alive) {
      const auto alive = std::count_if(things.begin(), things.end(), is_alive);
      if (alive > 0) found.push_back(concat("device ", d, ": ", alive, " ", what, " not released"));
    };
    const Device& device = *devices_[d];
    report("streams", device.streams, [](const auto& stream) { return stream->number > 0 && stream->alive; });
    report("events", device.events, [](const auto& event) { return event->alive; });
    report("pieces of pinned memory", device.pinned, [](const auto&) { return true; });
    report("pieces of memory", device.memory, [](const auto& memory) { return memory.second.alive; });
  }
  return found;
}

void FakeMachine::violation(const std::string& text) {
  if (violations_.insert(text).second) tell({.kind = FakeNote::Kind::kViolation, .text = text});
}

void FakeMachine::changed() {
  ++changes_;
  ++untold_changes_;
  condition_.notify_all();
}

void FakeMachine::expect_change_at(std::chrono::steady_clock::time_point when) {
  if (when <= quiet_until_) return;
  quiet_until_ = when;
  const auto since_start = std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch());
  tell({.kind = FakeNote::Kind::kQuiet, .number = since_start.count()});
}

void FakeMachine::check_thread(int device) {
  std::thread::id& owner = devices_[static_cast<size_t>(device)]->thread;
  if (owner == std::thread::id()) owner = std::this_thread::get_id();
  if (owner != std::this_thread::get_id()) violation(concat("device ", device, " was called by two threads"));
}

FakeStream& FakeMachine::stream_of(CudaStream handle, int device) {
  FakeStream& compute = *devices_[static_cast<size_t>(device)]->streams.front();
  if (handle == nullptr) return compute;
  auto& stream = *reinterpret_cast<FakeStream*>(handle);
  if (!stream.alive) violation(concat("device ", device, ": stream ", stream.number, " used after its end"));
  if (stream.device != device) violation(concat("device ", device, " used a stream of device ", stream.device));
  return stream;
}

FakeMachine::Event* FakeMachine::event_of(CudaEvent handle, int device) {
  auto* const event = reinterpret_cast<Event*>(handle);
  if (event == nullptr || !event->alive) {
    violation(concat("device ", device, ": an event used after its end"));
    return nullptr;
  }
  return event;
}

bool FakeMachine::advance(FakeStream& stream, const std::function<bool()>& reached) {
  if (stream.running) return reached();
  stream.running = true;
  while (!reached() && !stream.stuck && !stream.queue.empty()) {
    const auto operation = stream.queue.front();
    if (!operation->started) {
      operation->started = true;
      join(stream.clock, operation->after);
      stream.clock.resize(std::max(stream.clock.size(), stream.number + 1));
      ++stream.clock[stream.number];
    }
    if (!operation->run(stream)) break;
    stream.queue.pop_front();
    changed();
  }
  stream.running = false;
  return reached();
}

bool FakeMachine::all_wait_in_vain() const {
  return waiters_.size() == devices_.size() && std::chrono::steady_clock::now() > quiet_until_ &&
         std::all_of(waiters_.begin(), waiters_.end(), [&](const auto& one) { return one.second.seen == changes_; });
}

/// Says that this device waits, and has tried in vain since the last change.
void FakeMachine::wait_as(int device, const std::string& what) {
  Waiter& me = waiters_[device];
  if (me.seen == changes_) return;
  me = {what, changes_};
  if (on_needs) on_needs();
  if (me.seen != changes_) return;  // try again first
  tell({.kind = FakeNote::Kind::kWaits, .number = static_cast<int64_t>(me.seen), .text = what});
}

bool FakeMachine::run_until(FakeLock& lock, FakeStream& stream, const std::function<bool()>& reached,
                            const std::string& what) {
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  bool done = false;
  const bool& hopeless = devices_[static_cast<size_t>(stream.device)]->hopeless;
  while (!(done = advance(stream, reached)) && !hopeless && !deadlock_ && std::chrono::steady_clock::now() < deadline) {
    wait_as(stream.device, what);
    if (all_wait_in_vain()) {
      std::string text = "deadlock:";
      for (const auto& one : waiters_) text += " " + one.second.what + ";";
      violation(text);
      deadlock_ = true;
      tell({.kind = FakeNote::Kind::kDeadlock});
      changed();
      break;
    }
    const uint64_t seen = waiters_.at(stream.device).seen;
    condition_.wait_for(lock, std::chrono::milliseconds(2), [&] { return changes_ != seen; });
  }
  if (waiters_.erase(stream.device) > 0) tell({.kind = FakeNote::Kind::kWaitsNoMore});
  return done;
}

void FakeMachine::enqueue(FakeLock& lock, FakeStream& stream, std::string name, std::function<bool(FakeStream&)> run) {
  const FakeClock& host = devices_[static_cast<size_t>(stream.device)]->host;
  const auto operation = std::make_shared<FakeOperation>(FakeOperation{std::move(name), std::move(run), host});
  stream.queue.push_back(operation);
  changed();
  if (stream.number > 0 || stream.stuck) return;
  const auto empty = [&] { return stream.queue.empty(); };
  if (!run_until(lock, stream, empty, concat("device ", stream.device, " in ", operation->name))) stream.stuck = true;
}

CudaApi FakeMachine::cuda(int device) {
  CudaApi api;
  add_device_calls(api, device);
  add_stream_calls(api, device);
  add_event_calls(api, device);
  add_memory_calls(api, device);
  api.error_text = [](CudaStatus status) -> std::string {
    return status == kCudaInvalidHandle ? "invalid resource handle" : concat("error ", status, " of the double");
  };
  return api;
}

void FakeMachine::add_device_calls(CudaApi& api, int device) {
  api.get_device_count = [this](int* count) {
    *count = devices();
    return kCudaSuccess;
  };
  api.set_device = [this, device](int wanted) {
    const std::lock_guard lock(mutex_);
    check_thread(device);
    if (wanted != device) violation(concat("the thread of device ", device, " chose device ", wanted));
    return kCudaSuccess;
  };
  api.get_device_info = [this](int wanted, CudaDeviceInfo* info) {
    if (wanted < 0 || wanted >= devices()) return kCudaInvalidValue;
    *info = {.name = "Double", .uuid = concat("double-", wanted), .memory_bytes = int64_t{1} << 34, .major = 9};
    return kCudaSuccess;
  };
  api.driver_version = api.runtime_version = [](int* version) {
    *version = 13'000;
    return kCudaSuccess;
  };
  api.can_access_peer = [](int, int, bool* can) {
    *can = true;
    return kCudaSuccess;
  };
}

void FakeMachine::add_stream_calls(CudaApi& api, int device) {
  api.stream_create = [this, device](CudaStream* handle) {
    const std::lock_guard lock(mutex_);
    check_thread(device);
    auto& streams = devices_[static_cast<size_t>(device)]->streams;
    streams.push_back(std::make_unique<FakeStream>());
    streams.back()->device = device;
    streams.back()->number = streams.size() - 1;
    *handle = reinterpret_cast<CudaStream>(streams.back().get());
    return kCudaSuccess;
  };
  api.stream_destroy = [this, device](CudaStream handle) {
    const std::lock_guard lock(mutex_);
    FakeStream& stream = stream_of(handle, device);
    if (!stream.alive) return kCudaInvalidHandle;
    advance(stream, [&] { return stream.queue.empty(); });  // what was given to it still runs
    stream.alive = false;
    return kCudaSuccess;
  };
  api.stream_wait_event = [this, device](CudaStream stream, CudaEvent event) {
    return wait_event(stream, event, device);
  };
}

void FakeMachine::add_event_calls(CudaApi& api, int device) {
  api.event_create = [this, device](CudaEvent* handle) {
    const std::lock_guard lock(mutex_);
    check_thread(device);
    auto& events = devices_[static_cast<size_t>(device)]->events;
    events.push_back(std::make_unique<Event>());
    events.back()->device = device;
    *handle = reinterpret_cast<CudaEvent>(events.back().get());
    return kCudaSuccess;
  };
  api.event_destroy = [this, device](CudaEvent handle) {
    const std::lock_guard lock(mutex_);
    Event* const event = event_of(handle, device);
    if (event == nullptr) return kCudaInvalidHandle;
    event->alive = false;
    return kCudaSuccess;
  };
  api.event_record = [this, device](CudaEvent event, CudaStream stream) { return record_event(event, stream, device); };
  api.event_query = [this, device](CudaEvent event) { return query_event(event, device); };
}

CudaStatus FakeMachine::wait_event(CudaStream handle, CudaEvent event_handle, int device) {
  FakeLock lock(mutex_);
  check_thread(device);
  FakeStream& stream = stream_of(handle, device);
  Event* const event = event_of(event_handle, device);
  if (event == nullptr) return kCudaInvalidHandle;
  if (!event->last) {
    violation(concat("device ", device, ": a wait for an event that was never recorded, which waits for nothing"));
    return kCudaSuccess;
  }
  enqueue(lock, stream, "a wait for an event", [this, record = event->last](FakeStream& waiting) {
    if (!record->done && !advance(*record->stream, [&] { return record->done; })) return false;
    join(waiting.clock, record->clock);
    return true;
  });
  return kCudaSuccess;
}

CudaStatus FakeMachine::record_event(CudaEvent event_handle, CudaStream handle, int device) {
  FakeLock lock(mutex_);
  check_thread(device);
  FakeStream& stream = stream_of(handle, device);
  Event* const event = event_of(event_handle, device);
  if (event == nullptr) return kCudaInvalidHandle;
  event->last = std::make_shared<Record>();
  event->last->stream = &stream;
  enqueue(lock, stream, "a record of an event", [record = event->last](FakeStream& recording) {
    record->clock = recording.clock;
    record->done = true;
    return true;
  });
  return kCudaSuccess;
}

CudaStatus FakeMachine::query_event(CudaEvent event_handle, int device) {
  const std::lock_guard lock(mutex_);
  check_thread(device);
  Event* const event = event_of(event_handle, device);
  if (event == nullptr) return kCudaInvalidHandle;
  if (!event->last) return kCudaSuccess;
  Record& record = *event->last;
  if (!record.done && ++record.polls > kPollsBeforeRunning) advance(*record.stream, [&] { return record.done; });
  if (!record.done) return kCudaNotReady;
  join(devices_[static_cast<size_t>(device)]->host, record.clock);
  return kCudaSuccess;
}

void FakeMachine::add_memory_calls(CudaApi& api, int device) {
  api.malloc = [this, device](void** memory, size_t bytes) {
    const std::lock_guard lock(mutex_);
    check_thread(device);
    auto made = std::make_unique<std::byte[]>(std::max<size_t>(bytes, 1));
    std::memset(made.get(), 0xff, bytes);  // not a number in any floating-point type
    *memory = made.get();
    const std::byte* const begin = made.get();
    devices_[static_cast<size_t>(device)]->memory[begin] = Memory{std::move(made), bytes, true, {}};
    return kCudaSuccess;
  };
  api.free = [this, device](void* memory) {
    const std::lock_guard lock(mutex_);
    auto& pieces = devices_[static_cast<size_t>(device)]->memory;
    const auto found = pieces.find(static_cast<std::byte*>(memory));
    if (found == pieces.end() || !found->second.alive) {
      violation(concat("device ", device, ": memory released that is not allocated"));
      return kCudaInvalidValue;
    }
    found->second.alive = false;  // the bytes stay, so that a later use is seen and not felt
    return kCudaSuccess;
  };
  // Memory of the host, which the double does not watch: what the host overwrites too early, a lazy copy reads.
  api.malloc_host = [this, device](void** memory, size_t bytes) {
    const std::lock_guard lock(mutex_);
    check_thread(device);
    auto made = std::make_unique<std::byte[]>(std::max<size_t>(bytes, 1));
    *memory = made.get();
    const std::byte* const begin = made.get();
    devices_[static_cast<size_t>(device)]->pinned[begin] = std::move(made);
    return kCudaSuccess;
  };
  api.free_host = [this, device](void* memory) {
    const std::lock_guard lock(mutex_);
    if (devices_[static_cast<size_t>(device)]->pinned.erase(static_cast<std::byte*>(memory)) == 1) return kCudaSuccess;
    violation(concat("device ", device, ": pinned memory released that is not allocated"));
    return kCudaInvalidValue;
  };
  api.memcpy_async = [this, device](void* to, const void* from, size_t bytes, CudaStream stream) {
    return copy(device, to, from, bytes, stream);
  };
}

CudaStatus FakeMachine::copy(int device, void* to, const void* from, size_t bytes, CudaStream handle) {
  FakeLock lock(mutex_);
  check_thread(device);
  enqueue(lock, stream_of(handle, device), concat("a copy of ", bytes, " bytes"), [=, this](FakeStream& stream) {
    touch(stream, from, bytes, /*writes=*/false);
    touch(stream, to, bytes, /*writes=*/true);
    if (bytes > 0) std::memmove(to, from, bytes);
    return true;
  });
  return kCudaSuccess;
}

FakeMachine::Memory* FakeMachine::memory_of(Device& device, const std::byte* at) {
  auto found = device.memory.upper_bound(at);
  if (found == device.memory.begin()) return nullptr;
  --found;
  return at < found->first + found->second.size ? &found->second : nullptr;
}

void FakeMachine::touch(FakeStream& stream, const void* memory, size_t bytes, bool writes) {
  if (bytes == 0) return;
  const auto* const begin = static_cast<const std::byte*>(memory);
  Memory* const piece = memory_of(*devices_[static_cast<size_t>(stream.device)], begin);
  if (piece == nullptr) return;  // a tensor that stands in for device memory
  const std::string& name = stream.queue.front()->name;
  if (!piece->alive) violation(concat("device ", stream.device, ": ", name, " touches memory that was released"));
  check_access(stream, *piece, {begin, begin + bytes, writes, stream.number, stream.clock.at(stream.number), name});
}

void FakeMachine::check_access(FakeStream& stream, Memory& memory, const Access& access) {
  for (const Access& other : memory.accesses) {
    const bool meets = other.begin < access.end && access.begin < other.end && other.stream != access.stream;
    if (!meets || (!other.writes && !access.writes) || knows(stream.clock, other.stream, other.epoch)) continue;
    violation(concat("device ", stream.device, ": no event orders ", access.name, " on stream ", access.stream,
                     access.writes ? ", which writes," : ", which reads,", " after ", other.name, " on stream ",
                     other.stream, other.writes ? ", which writes" : ", which reads", " the same memory"));
  }
  // What a later write of the whole range, or a later read on the same stream, comes after can be met by nobody who
  // does not meet that one.
  std::erase_if(memory.accesses, [&](const Access& other) {
    const bool follows = access.writes || (!other.writes && other.stream == access.stream);
    return follows && access.begin <= other.begin && other.end <= access.end;
  });
  memory.accesses.push_back(access);
}

}  // namespace rondo::testing
