#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "sharding/comm/communicator.h"
#include "sharding/comm/device_buffers.h"
#include "sharding/comm/exchange_plan.h"
#include "sharding/comm/nccl_channel.h"

namespace rondo {

/// One call under way on one rank, on its device.
struct NcclCall {
  ExchangePlan plan;      // who gets what; keeps the tensors alive until the output is on its way
  ByteSpan input;         // goes into the send buffer
  ByteSpan output;        // comes out of the receive buffer
  bool in_place = false;  // one buffer is both
  int root = -1;          // of a broadcast

  std::string text;                    // "call 12: all_to_all 'row ids', channel exchange, Long, 4096 bytes"
  std::unique_ptr<Work> announcement;  // null when calls are only counted
  uint64_t number = 0;                 // of the announcement

  NcclChannel* channel = nullptr;
  DeviceMemoryHandle send;
  DeviceMemoryHandle receive;
  CudaEventHandle ready;  // the input is in the send buffer
  CudaEventHandle done;   // the output is in the receive buffer; empty when there was nothing to do
  std::chrono::steady_clock::time_point issued;
  std::chrono::milliseconds deadline{0};
  bool delivered = false;

  std::byte* send_buffer() const { return static_cast<std::byte*>(send.get()); }
  std::byte* receive_buffer() const { return in_place ? send_buffer() : static_cast<std::byte*>(receive.get()); }
};

/// What a call of each kind moves; `place` has no pool. Throws InternalError for tensors and rows that break the
/// contract of Communicator.
NcclCall all_reduce_call(Place place, const at::Tensor& values, CallTag tag);
NcclCall reduce_scatter_call(Place place, const at::Tensor& input, const at::Tensor& output,
                             std::span<const int64_t> rows, CallTag tag);
NcclCall all_gather_call(Place place, const at::Tensor& input, const at::Tensor& output, std::span<const int64_t> rows,
                         CallTag tag);
NcclCall all_to_all_call(Place place, SplitRows input, SplitRows output, CallTag tag);
NcclCall broadcast_call(Place place, const at::Tensor& values, int root, CallTag tag);

/// Gives the operations of a call to NCCL, on the stream of its channel; returns false if there are none on this rank.
/// Segments that differ between ranks are grouped sends and receives, broadcasts or sums to each root.
bool launch(const NcclApi& nccl, int rank, const NcclCall& call);

}  // namespace rondo
