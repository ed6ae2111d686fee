#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"

namespace rondo::bench {

enum class Collective : uint8_t { kAllReduce, kReduceScatter, kAllGather, kAllToAll, kBroadcast };

/// Bandwidths as nccl-tests defines them (doc/PERFORMANCE.md there), in GB/s. `bytes` is the size S of the operation:
/// of the array that is summed or broadcast, of all that is gathered, of what a rank sends in an all-to-all (its own
/// part included). algorithm = S / t; bus = algorithm times 2 (n - 1) / n for all-reduce, (n - 1) / n for
/// reduce-scatter, all-gather and all-to-all, 1 for broadcast: comparable with the bandwidth of a link, whatever the
/// number of ranks.
struct Bandwidth {
  double algorithm = 0;
  double bus = 0;
};
Bandwidth bandwidth_of(Collective collective, int world, int64_t bytes, double seconds);

struct CollectiveTime {
  Collective collective = Collective::kAllReduce;
  int64_t bytes = 0;
  double seconds = 0;  // of one, the mean of all
  Bandwidth bandwidth;
  bool correct = false;  // on this rank
};

struct CollectiveTimesOptions {
  at::DeviceType device = at::kCPU;
  std::vector<int64_t> bytes{1 << 12, 1 << 16, 1 << 20, 1 << 24, 1 << 28};  // multiples of 4 * world
  int warmup = 5;
  int repeats = 20;
};

/// Runs each collective at each size, fp32, checks what it gives, then times it. Collective.
std::vector<CollectiveTime> time_collectives(Communicator& comm, const CollectiveTimesOptions& options);

/// A table as people read it, and one "RESULT {json}" line.
std::string text_of(const std::vector<CollectiveTime>& times, int world, const std::string& backend);

}  // namespace rondo::bench
