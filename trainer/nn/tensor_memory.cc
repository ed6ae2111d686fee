#include "trainer/nn/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace rondo {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMostTimes = 2;  // what is asked for

/// In front of what a tensor sees.
struct alignas(kAlignment) BlockHead {
  size_t bytes;  // of the block, with its head
};

void* take_from_system(size_t bytes) {
  const bool huge = bytes >= 2 * kHugePage;
  void* block = nullptr;
  if (posix_memalign(&block, huge ? kHugePage : kAlignment, bytes) != 0) throw std::bad_alloc();
  if (huge) madvise(block, bytes, MADV_HUGEPAGE);  // A wish: refused where the system has none.
  return block;
}

/// Blocks that nobody uses, by size.
class IdleBlocks {
 public:
  /// The smallest of at least `bytes` and at most kMostTimes as many: batches of other sizes leave what this one needs.
  void* take(size_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto found = blocks_.lower_bound(bytes);
    if (found == blocks_.end() || found->first > kMostTimes * bytes) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    idle_ -= static_cast<int64_t>(found->first);
    if (found->second.empty()) blocks_.erase(found);
    return block;
  }

  /// Where there is no room left, all others go first: they are of sizes that nobody asks for any more. False: it is
  /// too large by itself.
  bool keep(void* block, size_t bytes) {
    const std::scoped_lock lock(mutex_);
    if (static_cast<int64_t>(bytes) > kMostIdleBytes) return false;
    if (idle_ + static_cast<int64_t>(bytes) > kMostIdleBytes) drop_all();
    blocks_[bytes].push_back(block);
    idle_ += static_cast<int64_t>(bytes);
    return true;
  }

  int64_t idle() {
    const std::scoped_lock lock(mutex_);
    return idle_;
  }

 private:
  void drop_all() {
    for (const auto& [bytes, blocks] : blocks_) {
      for (void* block : blocks) std::free(block);
    }
    blocks_.clear();
    idle_ = 0;
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> blocks_;
  int64_t idle_ = 0;
};

/// Never destroyed: a tensor of another static object may go after it.
IdleBlocks& idle_blocks() {
  static auto* blocks = new IdleBlocks;
  return *blocks;
}

void release(void* block) {
  const size_t bytes = static_cast<BlockHead*>(block)->bytes;
  if (bytes < kLeastKeptBytes || !idle_blocks().keep(block, bytes)) std::free(block);
}

class TensorMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, cpu};
    const size_t size = tensor_block_bytes(bytes + sizeof(BlockHead));
    void* block = size < kLeastKeptBytes ? nullptr : idle_blocks().take(size);
    if (block == nullptr) block = new (take_from_system(size)) BlockHead{size};
    return {static_cast<BlockHead*>(block) + 1, block, &release, cpu};
  }

  /// None: what a tensor sees is not what was allocated.
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }

  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

}  // namespace

size_t tensor_block_bytes(size_t bytes) {
  if (bytes < kLeastKeptBytes) return bytes;
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

int64_t idle_tensor_bytes() { return idle_blocks().idle(); }

void keep_tensor_memory() {
  static auto* memory = new TensorMemory;
  c10::SetCPUAllocator(memory, /*priority=*/1);
}

}  // namespace rondo
