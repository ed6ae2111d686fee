#include "sharding/handle/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

constexpr int64_t kFirstBytes = int64_t{1} << 20;

[[noreturn]] void fail(const std::string& what) { throw StorageError(concat(what, ": ", std::strerror(errno))); }

}  // namespace

SharedMemory::SharedMemory(uint64_t token) : descriptor_(memfd_create("rondo-messages", MFD_CLOEXEC)) {
  if (descriptor_ < 0) fail("memory that processes share");
  try {
    grow(kFirstBytes);
  } catch (const StorageError&) {
    close(descriptor_);
    throw;
  }
  std::memcpy(memory_, &token, sizeof(token));
}

SharedMemory::~SharedMemory() {
  munmap(memory_, static_cast<size_t>(capacity_));
  close(descriptor_);
}

std::byte* SharedMemory::reserve(int64_t bytes) {
  const int64_t needed = bytes + kHeadBytes;
  if (needed > capacity_) grow(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(needed))));
  return memory_ + kHeadBytes;
}

void SharedMemory::grow(int64_t capacity) {
  if (ftruncate(descriptor_, capacity) != 0) fail(concat("growing shared memory to ", capacity, " bytes"));
  const auto size = static_cast<size_t>(capacity);
  void* const memory = memory_ == nullptr ? mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0)
                                          : mremap(memory_, static_cast<size_t>(capacity_), size, MREMAP_MAYMOVE);
  if (memory == MAP_FAILED) fail(concat("mapping ", capacity, " bytes of shared memory"));
  memory_ = static_cast<std::byte*>(memory);
  capacity_ = capacity;
}

SharedMemoryView::SharedMemoryView(pid_t process, int descriptor, uint64_t token) {
  const std::string path = concat("/proc/", process, "/fd/", descriptor);
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(path);
  uint64_t found = 0;
  if (pread(descriptor_, &found, sizeof(found), 0) != static_cast<ssize_t>(sizeof(found)) || found != token) {
    close(descriptor_);
    throw StorageError(path + " is not the memory that was meant; do both processes see the same process numbers?");
  }
}

SharedMemoryView::SharedMemoryView(SharedMemoryView&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      memory_(std::exchange(other.memory_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)) {}

SharedMemoryView::~SharedMemoryView() {
  if (memory_ != nullptr) munmap(memory_, static_cast<size_t>(capacity_));
  if (descriptor_ >= 0) close(descriptor_);
}

const std::byte* SharedMemoryView::memory(int64_t capacity) {
  if (capacity != capacity_) map(capacity);
  return memory_ + SharedMemory::kHeadBytes;
}

void SharedMemoryView::map(int64_t capacity) {
  void* const memory = mmap(nullptr, static_cast<size_t>(capacity), PROT_READ, MAP_SHARED, descriptor_, 0);
  if (memory == MAP_FAILED) fail(concat("mapping ", capacity, " bytes of another rank's memory"));
  if (memory_ != nullptr) munmap(memory_, static_cast<size_t>(capacity_));
  memory_ = static_cast<std::byte*>(memory);
  capacity_ = capacity;
}

}  // namespace rondo
