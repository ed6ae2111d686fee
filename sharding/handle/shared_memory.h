#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace rondo {

/// Memory of this process that others of its host and user can map by (getpid(), descriptor()). Grows; pages are taken
/// as they are touched. Starts with its `token`, by which those who map it know that it is the one meant.
class SharedMemory {
 public:
  /// Throws StorageError where the system gives none.
  explicit SharedMemory(uint64_t token);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  int descriptor() const { return descriptor_; }
  int64_t capacity() const { return capacity_; }

  /// `bytes` of memory behind the token. What was there stays, but may move. Throws StorageError.
  std::byte* reserve(int64_t bytes);

  static constexpr int64_t kHeadBytes = 4096;  // in front of the memory: the token, then nothing

 private:
  void grow(int64_t capacity);

  int descriptor_ = -1;
  std::byte* memory_ = nullptr;
  int64_t capacity_ = 0;  // with the head
};

/// The SharedMemory of another process, to be read.
class SharedMemoryView {
 public:
  /// Throws StorageError where it cannot be mapped or has another token.
  SharedMemoryView(pid_t process, int descriptor, uint64_t token);
  ~SharedMemoryView();
  SharedMemoryView(SharedMemoryView&& other) noexcept;
  SharedMemoryView& operator=(SharedMemoryView&&) = delete;

  /// What is behind the token, now that the owner has grown it to `capacity`. May move; throws StorageError.
  const std::byte* memory(int64_t capacity);

 private:
  void map(int64_t capacity);

  int descriptor_ = -1;
  std::byte* memory_ = nullptr;
  int64_t capacity_ = 0;  // of what is mapped
};

}  // namespace rondo
