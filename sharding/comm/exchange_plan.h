#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/call_header.h"
#include "sharding/comm/staging_pool.h"
#include "sharding/comm/transport.h"

namespace rondo {

/// What one call exchanges with each rank and does with it. Every collective is an exchange of segments; a sum adds
/// what came, in rank order; all_reduce of many values then gathers the parts.
struct ExchangePlan {
  CallHeader header;
  std::vector<ByteSpan> send;     // [world]
  std::vector<ByteSpan> receive;  // [world]

  /// Bytes that the headers state for every pair; -1: those of the segments.
  int64_t stated_bytes = -1;

  /// Sum of `addends`, in rank order, into `sum`; no addends: nothing is added.
  std::vector<const std::byte*> addends;
  ByteSpan sum;

  /// After the sum: segment r of the result comes from rank r, `sum` goes to every rank. Empty: no second stage.
  std::vector<ByteSpan> gather;

  at::Tensor staging;

  /// False: the ranks only tell each other of the call; its bytes move between their devices.
  bool moves = true;
};

/// The rank for which a plan is made, and where its staging memory comes from. Without a pool a plan has no addends:
/// the sum is made elsewhere, from `send` to `sum`, by the devices that hold the tensors.
struct Place {
  int rank = 0;
  int world = 1;
  StagingPool* pool = nullptr;
  at::DeviceType device = at::kCPU;
};

/// A tensor with the rows of it that each rank sends or gets.
struct SplitRows {
  const at::Tensor& tensor;
  std::span<const int64_t> rows;
};

/// The plan of each operation of Communicator; the sequence number is the issuer's to set.
/// Throws InternalError for tensors and rows that break the contract there.
ExchangePlan plan_all_reduce(Place place, const at::Tensor& values, CallTag tag);
ExchangePlan plan_reduce_scatter(Place place, const at::Tensor& input, const at::Tensor& output,
                                 std::span<const int64_t> rows, CallTag tag);
ExchangePlan plan_all_gather(Place place, const at::Tensor& input, const at::Tensor& output,
                             std::span<const int64_t> rows, CallTag tag);
ExchangePlan plan_all_to_all(Place place, SplitRows input, SplitRows output, CallTag tag);
ExchangePlan plan_broadcast(Place place, const at::Tensor& values, int root, CallTag tag);
ExchangePlan plan_barrier(Place place, CallTag tag);

}  // namespace rondo
