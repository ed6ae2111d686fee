#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/exchange/scratch_tensor.h"

namespace rondo {

/// What this rank asks of one table.
struct AskedIds {
  std::span<const uint64_t> keys;        // distinct, in the order of the ranks they go to
  std::span<const int64_t> occurrences;  // of each key, below 2^31
  std::span<const int64_t> rows;         // [world], keys to each rank
  bool to_all = false;                   // every rank gets all of `keys`; rows[r] is 0 or their number
};

/// What all ranks ask of this rank's part of one table, in rank order.
struct ReceivedIds {
  std::vector<int64_t> rows;  // [world]
  std::vector<uint64_t> keys;
  std::vector<int64_t> occurrences;
};

/// Moves the ids of all tables together: one small all-to-all of counts, one of ids (DESIGN 4, step 3). The two parts
/// are calls of their own, so that other work can come between. Collective; keeps its buffers.
class IdExchange {
 public:
  explicit IdExchange(Communicator& comm) : comm_(comm) {}

  /// One entry a table; received.rows is filled.
  void exchange_counts(std::span<const AskedIds> asked, std::span<ReceivedIds> received);

  /// After exchange_counts with the same arguments; keys and occurrences are filled.
  void exchange_ids(std::span<const AskedIds> asked, std::span<ReceivedIds> received);

  /// Bytes of ids sent to other ranks so far.
  int64_t sent_bytes() const { return sent_bytes_; }

 private:
  void pack(std::span<const AskedIds> asked, int64_t* out) const;
  void unpack(std::span<const AskedIds> asked, const int64_t* in, std::span<ReceivedIds> received) const;

  Communicator& comm_;
  ScratchTensor send_, receive_;
  int64_t sent_bytes_ = 0;
};

}  // namespace rondo
