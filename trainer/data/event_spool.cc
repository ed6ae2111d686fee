#include "trainer/data/event_spool.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "sharding/base/check.h"

namespace rondo {
namespace {

static_assert(std::is_trivially_copyable_v<SpooledEvent>);

/// Open files at once; each has a buffer of kBufferBytes.
constexpr int64_t kMostRanges = 256;
constexpr size_t kBufferBytes = 1 << 16;

bool is_earlier(const SpooledEvent& a, const SpooledEvent& b) { return a.time < b.time; }

}  // namespace

EventSpool::EventSpool(std::filesystem::path folder, int64_t memory_events)
    : folder_(std::move(folder)), memory_events_(memory_events) {
  all_ = open(folder_ / "events.spool", "w+b");
  pending_.reserve(kBlock);
}

EventSpool::~EventSpool() {
  all_.reset();
  std::error_code ignored;
  std::filesystem::remove(folder_ / "events.spool", ignored);
  for (size_t part = 0; std::filesystem::remove(part_path(part), ignored); ++part) continue;
}

std::filesystem::path EventSpool::part_path(size_t part) const { return folder_ / concat("events.spool.", part); }

EventSpool::File EventSpool::open(const std::filesystem::path& path, const char* mode) const {
  File file(std::fopen(path.c_str(), mode));
  if (!file) {
    throw StorageError(concat("cannot create ", path.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }
  std::setvbuf(file.get(), nullptr, _IOFBF, kBufferBytes);
  return file;
}

void EventSpool::write_block(std::span<const SpooledEvent> block, std::FILE* file) const {
  if (std::fwrite(block.data(), sizeof(SpooledEvent), block.size(), file) != block.size()) {
    throw StorageError(concat("cannot write temporary events in ", folder_.string(), ": ", std::strerror(errno)));
  }
}

size_t EventSpool::read_block(std::FILE* file, std::vector<SpooledEvent>& block) const {
  const size_t count = std::fread(block.data(), sizeof(SpooledEvent), block.size(), file);
  if (std::ferror(file) != 0) {
    throw StorageError(concat("cannot read temporary events in ", folder_.string(), ": ", std::strerror(errno)));
  }
  return count;
}

void EventSpool::flush() {
  write_block(pending_, all_.get());
  pending_.clear();
}

int64_t EventSpool::count_of(int32_t user) const {
  return static_cast<size_t>(user) < events_of_user_.size() ? events_of_user_[static_cast<size_t>(user)] : 0;
}

std::vector<EventSpool::Range> EventSpool::make_ranges(std::span<const int32_t> users) const {
  const int64_t most = std::max(memory_events_, events_ / kMostRanges + 1);
  std::vector<Range> ranges;
  size_t begin = 0;
  int64_t events = 0;
  for (size_t i = 0; i < users.size(); ++i) {
    const int64_t count = count_of(users[i]);
    if (events > 0 && events + count > most) {
      ranges.push_back({users.subspan(begin, i - begin), events});
      begin = i;
      events = 0;
    }
    events += count;
  }
  ranges.push_back({users.subspan(begin), events});
  return ranges;
}

/// From the file of all events to one a range.
void EventSpool::deal(const std::vector<Range>& ranges) {
  std::vector<int32_t> range_of_user(events_of_user_.size());
  std::vector<File> files;
  for (size_t range = 0; range < ranges.size(); ++range) {
    for (const int32_t user : ranges[range].users) {
      if (count_of(user) > 0) range_of_user[static_cast<size_t>(user)] = static_cast<int32_t>(range);
    }
    files.push_back(open(part_path(range), "wb"));
  }
  std::vector<SpooledEvent> block(kBlock);
  while (const size_t count = read_block(all_.get(), block)) {
    for (const SpooledEvent& event : std::span(block).first(count)) {
      const int32_t range = range_of_user[static_cast<size_t>(event.user)];
      write_block({&event, 1}, files[static_cast<size_t>(range)].get());
    }
  }
  for (File& file : files) {
    if (std::fflush(file.get()) != 0) {
      throw StorageError(concat("cannot write temporary events in ", folder_.string(), ": ", std::strerror(errno)));
    }
  }
}

void EventSpool::visit_range(const Range& range, std::FILE* file, const Visit& visit) const {
  std::vector<SpooledEvent> events(static_cast<size_t>(range.events));
  std::vector<int64_t> next(events_of_user_.size());
  int64_t begin = 0;
  for (const int32_t user : range.users) {
    if (count_of(user) == 0) continue;
    next[static_cast<size_t>(user)] = begin;
    begin += count_of(user);
  }
  std::vector<SpooledEvent> block(kBlock);
  int64_t read = 0;
  while (const size_t count = read_block(file, block)) {
    for (const SpooledEvent& event : std::span(block).first(count)) {
      events[static_cast<size_t>(next[static_cast<size_t>(event.user)]++)] = event;
    }
    read += static_cast<int64_t>(count);
  }
  RONDO_CHECK_EQ(read, range.events, "events of a temporary file in ", folder_.string());
  begin = 0;
  for (const int32_t user : range.users) {
    const std::span of_user(events.data() + begin, static_cast<size_t>(count_of(user)));
    if (of_user.empty()) continue;
    if (!std::is_sorted(of_user.begin(), of_user.end(), is_earlier)) {
      std::stable_sort(of_user.begin(), of_user.end(), is_earlier);
    }
    visit(user, of_user);
    begin += count_of(user);
  }
}

void EventSpool::visit_sorted(std::span<const int32_t> users, const Visit& visit) {
  flush();
  if (std::fflush(all_.get()) != 0) {
    throw StorageError(concat("cannot write temporary events in ", folder_.string(), ": ", std::strerror(errno)));
  }
  std::rewind(all_.get());
  const std::vector<Range> ranges = make_ranges(users);
  if (ranges.size() == 1) {
    visit_range(ranges.front(), all_.get(), visit);
    return;
  }
  deal(ranges);
  all_ = open(folder_ / "events.spool", "wb");  // gives its space back
  for (size_t range = 0; range < ranges.size(); ++range) {
    visit_range(ranges[range], open(part_path(range), "rb").get(), visit);
    std::filesystem::remove(part_path(range));
  }
}

}  // namespace rondo
