#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "sharding/base/error.h"
#include "sharding/comm/communicator.h"

namespace rondo {

enum class Operation : uint8_t {
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kAllToAll,
  kBroadcast,
  kBarrier,
  kFailed,   ///< not a call: the sender has failed, after `sequence` complete calls; a text follows
  kGoodbye,  ///< not a call: the sender has left in peace, after `sequence` calls
};

/// What a rank tells each peer at the start of a call, as it travels (same machine type on all ranks).
struct CallHeader {
  static constexpr int kWhatBytes = 80;

  uint64_t sequence = 0;       // calls of this rank before, over all channels
  uint64_t what_hash = 0;      // of the whole text
  int64_t send_bytes = 0;      // from the writer of the header to its reader
  int64_t receive_bytes = 0;   // the writer expects from the reader
  uint64_t device_calls = 0;   // before, that had no header of their own
  uint64_t device_digest = 0;  // of their operations, purposes, channels and types, in order
  Operation operation = Operation::kBarrier;
  Channel channel = Channel::kControl;
  at::ScalarType dtype = at::ScalarType::Byte;
  uint8_t what_length = 0;               // of the text below, cut at kWhatBytes
  ExitCode exit_code = ExitCode::kDone;  // of kFailed
  char what[kWhatBytes] = {};

  std::string_view what_text() const { return {what, what_length}; }
};

/// Header of a call; the bytes are set for each peer.
CallHeader make_header(Operation operation, uint64_t sequence, at::ScalarType dtype, CallTag tag);

/// "call 12: all_to_all 'row ids', channel exchange, int64"
std::string describe(const CallHeader& header);

/// Do the headers that two ranks sent each other belong to one call?
bool agrees(const CallHeader& mine, const CallHeader& theirs);

/// Who called what, both sides, and what differs.
std::string divergence(int rank, const CallHeader& mine, int peer, const CallHeader& theirs);

}  // namespace rondo
