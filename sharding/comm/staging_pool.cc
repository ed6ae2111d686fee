#include "sharding/comm/staging_pool.h"

#include <ATen/ops/empty.h>

#include <utility>

namespace rondo {

at::Tensor StagingPool::take(int64_t bytes) {
  if (bytes == 0) return {};
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->numel() >= bytes && (best == free_.end() || it->numel() < best->numel())) best = it;
  }
  if (best != free_.end()) {
    at::Tensor buffer = std::move(*best);
    free_.erase(best);
    return buffer;
  }
  if (!free_.empty()) free_.pop_back();  // Too small for what is asked now: the new one takes its place.
  return at::empty({bytes}, at::kByte);
}

void StagingPool::give_back(at::Tensor buffer) {
  if (buffer.defined()) free_.push_back(std::move(buffer));
}

}  // namespace rondo
