#include "sharding/embedding/embedding_device.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>

#include "sharding/base/error.h"

namespace rondo {
namespace {

constexpr int64_t kSmallestChunk = int64_t{1} << 20;
constexpr int64_t kAlignment = 256;
constexpr std::chrono::microseconds kPollPause{20};

}  // namespace

DeviceStaging::DeviceStaging(const EmbeddingDevice& device)
    : device_(device), copies_(make_stream(device.cuda)), copied_(make_event(device.cuda)) {
  for (Round& round : rounds_) round.over = make_event(device.cuda);
}

/// Kernels may still read what is released here.
DeviceStaging::~DeviceStaging() {
  try {
    start_round();
    start_round();
  } catch (const Error&) {
    // A device that is lost reads nothing any more.
  }
}

void DeviceStaging::wait_on_host(CudaEvent event) const {
  CudaStatus status = kCudaNotReady;
  while ((status = device_.cuda.event_query(event)) == kCudaNotReady) std::this_thread::sleep_for(kPollPause);
  check_cuda(device_.cuda, status, "cudaEventQuery", "in the work of the row kernels");
}

void DeviceStaging::start_round() {
  Round& last = rounds_[now_];
  check_cuda(device_.cuda, device_.cuda.event_record(last.over.get(), device_.compute_stream), "cudaEventRecord");
  last.recorded = true;
  now_ ^= 1;
  Round& next = rounds_[now_];
  if (next.recorded) wait_on_host(next.over.get());
  for (Chunk& chunk : next.chunks) chunk.used = 0;
}

DeviceStaging::Place DeviceStaging::take(int64_t bytes) {
  std::vector<Chunk>& chunks = rounds_[now_].chunks;
  const auto fits = [&](const Chunk& chunk) { return chunk.bytes - chunk.used >= bytes; };
  auto chunk = std::find_if(chunks.begin(), chunks.end(), fits);
  if (chunk == chunks.end()) {
    const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(bytes, kSmallestChunk))));
    chunks.push_back({allocate_pinned(device_.cuda, size), allocate_device(device_.cuda, size), size, 0});
    chunk = chunks.end() - 1;
  }
  const int64_t at = chunk->used;
  chunk->used = std::min(chunk->bytes, (at + bytes + kAlignment - 1) / kAlignment * kAlignment);
  return {static_cast<std::byte*>(chunk->pinned.get()) + at, static_cast<std::byte*>(chunk->memory.get()) + at};
}

void* DeviceStaging::upload_bytes(const void* from, int64_t bytes) {
  if (bytes == 0) return nullptr;
  const auto [pinned, target] = take(bytes);
  std::memcpy(pinned, from, static_cast<size_t>(bytes));
  const CudaApi& cuda = device_.cuda;
  check_cuda(cuda, cuda.memcpy_async(target, pinned, static_cast<size_t>(bytes), copies_.get()), "cudaMemcpyAsync");
  check_cuda(cuda, cuda.event_record(copied_.get(), copies_.get()), "cudaEventRecord");
  check_cuda(cuda, cuda.stream_wait_event(device_.compute_stream, copied_.get()), "cudaStreamWaitEvent");
  return target;
}

std::byte* DeviceStaging::scratch(int64_t bytes) { return bytes == 0 ? nullptr : take(bytes).memory; }

void DeviceStaging::download(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  const CudaApi& cuda = device_.cuda;
  check_cuda(cuda, cuda.memcpy_async(to, from, static_cast<size_t>(bytes), device_.compute_stream), "cudaMemcpyAsync");
  const CudaEventHandle over = make_event(cuda);
  check_cuda(cuda, cuda.event_record(over.get(), device_.compute_stream), "cudaEventRecord");
  wait_on_host(over.get());
}

}  // namespace rondo
