#include "trainer/data/event_spool.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "sharding/base/check.h"

namespace rondo {
namespace {

static_assert(std::is_trivially_copyable_v<SpooledEvent>);

constexpr size_t kBlock = 1 << 14;  // events

void write_events(std::span<const SpooledEvent> events, std::FILE* file, const std::filesystem::path& folder) {
  if (std::fwrite(events.data(), sizeof(SpooledEvent), events.size(), file) != events.size()) {
    throw StorageError(concat("cannot write temporary events in ", folder.string(), ": ", std::strerror(errno)));
  }
}

}  // namespace

EventSpool::EventSpool(std::filesystem::path folder, int64_t memory_events)
    : folder_(std::move(folder)), memory_events_(memory_events) {
  all_ = open(folder_ / "events.spool", "w+b");
}

EventSpool::~EventSpool() {
  all_.reset();
  std::error_code ignored;
  std::filesystem::remove(folder_ / "events.spool", ignored);
}

EventSpool::File EventSpool::open(const std::filesystem::path& path, const char* mode) const {
  File file(std::fopen(path.c_str(), mode));
  if (!file) {
    throw StorageError(concat("cannot create ", path.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }
  return file;
}

void EventSpool::add(const SpooledEvent& event) {
  if (static_cast<size_t>(event.user) >= events_of_user_.size())
    events_of_user_.resize(static_cast<size_t>(event.user) + 1);
  ++events_of_user_[static_cast<size_t>(event.user)];
  ++events_;
  write_events({&event, 1}, all_.get(), folder_);
}

std::vector<int32_t> EventSpool::partition_of_users(std::span<const int32_t> rank) const {
  std::vector<int32_t> by_rank(rank.size());
  for (size_t user = 0; user < rank.size(); ++user)
    by_rank[static_cast<size_t>(rank[user])] = static_cast<int32_t>(user);
  std::vector<int32_t> partition(rank.size());
  int64_t filled = 0;
  int32_t current = 0;
  for (const int32_t user : by_rank) {
    const int64_t count = events_of_user_[static_cast<size_t>(user)];
    if (filled > 0 && filled + count > memory_events_) {
      ++current;
      filled = 0;
    }
    filled += count;
    partition[static_cast<size_t>(user)] = current;
  }
  return partition;
}

void EventSpool::visit_partition(const std::filesystem::path& path, std::span<const int32_t> rank,
                                 const std::function<void(std::span<SpooledEvent>)>& visit) const {
  std::vector<SpooledEvent> events(std::filesystem::file_size(path) / sizeof(SpooledEvent));
  {
    const File file = open(path, "rb");
    if (std::fread(events.data(), sizeof(SpooledEvent), events.size(), file.get()) != events.size()) {
      throw StorageError(concat("cannot read ", path.string(), ": ", std::strerror(errno)));
    }
  }
  std::filesystem::remove(path);
  std::sort(events.begin(), events.end(), [&](const SpooledEvent& a, const SpooledEvent& b) {
    return std::tuple(rank[static_cast<size_t>(a.user)], a.time, a.order) <
           std::tuple(rank[static_cast<size_t>(b.user)], b.time, b.order);
  });
  for (auto begin = events.begin(); begin != events.end();) {
    const auto end = std::find_if(begin, events.end(), [&](const SpooledEvent& e) { return e.user != begin->user; });
    visit(std::span(begin, end));
    begin = end;
  }
}

void EventSpool::visit_sorted(std::span<const int32_t> rank,
                              const std::function<void(std::span<SpooledEvent>)>& visit) {
  RONDO_CHECK_EQ(rank.size(), events_of_user_.size(), "users");
  if (events_ == 0) return;
  const std::vector<int32_t> partition = partition_of_users(rank);
  const int32_t partitions = *std::max_element(partition.begin(), partition.end()) + 1;
  std::vector<File> files;
  std::vector<std::filesystem::path> paths;
  for (int32_t i = 0; i < partitions; ++i) {
    paths.push_back(folder_ / concat("events.spool.", i));
    files.push_back(open(paths.back(), "wb"));
  }
  std::rewind(all_.get());
  std::vector<SpooledEvent> block(kBlock);
  while (const size_t count = std::fread(block.data(), sizeof(SpooledEvent), block.size(), all_.get())) {
    for (const SpooledEvent& event : std::span(block).first(count)) {
      write_events({&event, 1}, files[static_cast<size_t>(partition[static_cast<size_t>(event.user)])].get(), folder_);
    }
  }
  for (auto& file : files) {
    if (std::fflush(file.get()) != 0) {
      throw StorageError(concat("cannot write temporary events in ", folder_.string(), ": ", std::strerror(errno)));
    }
    file.reset();
  }
  for (const auto& path : paths) visit_partition(path, rank, visit);
}

}  // namespace rondo
