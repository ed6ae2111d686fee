#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sharding/comm/call_header.h"
#include "sharding/comm/exchange_plan.h"
#include "sharding/comm/staging_pool.h"
#include "sharding/comm/transport.h"

namespace rondo {

/// One call under way on one rank: the state machine of header, exchange, sum and gather over a transport.
class Collective {
 public:
  Collective(ExchangePlan plan, Transport& transport);

  uint64_t sequence() const { return plan_.header.sequence; }

  /// Sends headers and payloads to all peers. Short payloads ride with the header.
  void start();

  /// Header of `peer` for this call, and the payload that rode with it. Throws PeerError if it is another call.
  void hear(int peer, const CallHeader& header, std::span<const std::byte> payload);

  /// Goes as far as it can without waiting; true once complete. Gives the staging buffer back and lets go of all
  /// tensors then.
  bool advance(StagingPool& pool);
  bool complete() const { return complete_; }

  /// What this rank still waits for, and from whom: "a call by rank 2, 5; bytes from rank 1".
  std::string owed() const;
  const CallHeader& header() const { return plan_.header; }

 private:
  CallHeader header_for(int peer) const;
  void send_to(int peer);
  void start_gather();
  bool transfers_over();
  void release(StagingPool& pool);

  ExchangePlan plan_;
  Transport& transport_;
  std::vector<uint8_t> heard_;      // [world]
  std::vector<int64_t> sending_;    // [world] transfer, or -1
  std::vector<int64_t> receiving_;  // [world] transfer, or -1
  int silent_ = 0;                  // peers not heard
  int stage_ = 0;
  bool complete_ = false;
};

}  // namespace rondo
