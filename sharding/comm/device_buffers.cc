#include "sharding/comm/device_buffers.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// Sizes are powers of two, so that batches of slightly different sizes share their buffers.
constexpr int64_t kSmallestBytes = 4'096;

}  // namespace

int64_t DeviceBuffers::size_of(const DeviceMemoryHandle& memory) const {
  const auto piece =
      std::find_if(sizes_.begin(), sizes_.end(), [&](const Piece& one) { return one.memory == memory.get(); });
  RONDO_CHECK(piece != sizes_.end(), "memory of another pool");
  return piece->bytes;
}

DeviceMemoryHandle DeviceBuffers::take(int64_t bytes) {
  if (bytes == 0) return {};
  auto best = free_.end();
  for (auto one = free_.begin(); one != free_.end(); ++one) {
    if (size_of(*one) >= bytes && (best == free_.end() || size_of(*one) < size_of(*best))) best = one;
  }
  if (best != free_.end()) {
    DeviceMemoryHandle found = std::move(*best);
    free_.erase(best);
    return found;
  }
  const auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(bytes, kSmallestBytes))));
  DeviceMemoryHandle made = allocate_device(api_, rounded);
  sizes_.push_back({made.get(), rounded});
  allocated_bytes_ += rounded;
  return made;
}

void DeviceBuffers::give_back(DeviceMemoryHandle memory) {
  if (memory) free_.push_back(std::move(memory));
}

CudaEventHandle DeviceBuffers::take_event() {
  if (events_.empty()) return make_event(api_);
  CudaEventHandle event = std::move(events_.back());
  events_.pop_back();
  return event;
}

}  // namespace rondo
