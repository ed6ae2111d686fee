#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/exchange/scratch_tensor.h"

namespace rondo {

/// What this rank asks of one table, or of a part of it.
struct AskedIds {
  std::span<const uint64_t> keys;        // distinct, in the order of the ranks they go to
  std::span<const int64_t> occurrences;  // of each key, below 2^31
  std::span<const int64_t> rows;         // [world], keys to each rank
  bool to_all = false;                   // every rank gets all of `keys`; rows[r] is 0 or their number

  /// Further words for the holders (entries of bags), in the order of the ranks; with to_all each gets all or none.
  std::span<const int32_t> attached = {};

  /// [world] words to each rank, and a number to each rank that travels with the counts (keys whose rows are to come
  /// back, or what the caller likes). Empty on all ranks or on none: then nothing is attached, and the number is that
  /// of the keys.
  std::span<const int64_t> attached_words = {};
  std::span<const int64_t> home = {};
};

/// What all ranks ask of this rank's part of one table, in rank order.
struct ReceivedIds {
  std::vector<int64_t> rows;            // [world]
  std::vector<int64_t> home;            // [world]
  std::vector<int64_t> attached_words;  // [world]
  std::vector<int32_t> attached;
  std::vector<uint64_t> keys;
  std::vector<int64_t> occurrences;
};

/// Moves the ids of all tables together: one small all-to-all of counts, one of ids (DESIGN 4, step 3). Three calls in
/// this order with the same arguments, so that other work can come between; what `asked` points to must live until the
/// last. Collective; keeps its buffers.
class IdExchange {
 public:
  explicit IdExchange(Communicator& comm) : comm_(comm) {}

  /// One entry a table or part. Counts are under way afterwards.
  void send_counts(std::span<const AskedIds> asked, std::span<ReceivedIds> received);

  /// Waits for the counts and fills what `received` holds by rank. Ids are under way afterwards.
  void send_ids(std::span<const AskedIds> asked, std::span<ReceivedIds> received);

  /// Waits for the ids and fills the rest.
  void take_ids(std::span<const AskedIds> asked, std::span<ReceivedIds> received);

  /// Bytes sent to other ranks so far: of ids with their occurrences, and of what was attached.
  int64_t sent_bytes() const { return sent_bytes_; }
  int64_t attached_bytes() const { return attached_bytes_; }

 private:
  void take_counts(std::span<const AskedIds> asked, std::span<ReceivedIds> received);
  void lay_out(std::span<const AskedIds> asked, std::span<const ReceivedIds> received);
  void pack(std::span<const AskedIds> asked, int64_t* out) const;
  void unpack(std::span<const AskedIds> asked, const int64_t* in, std::span<ReceivedIds> received) const;

  Communicator& comm_;
  ScratchTensor send_, receive_;
  at::Tensor incoming_;                              // of the message under way
  std::unique_ptr<Work> under_way_;                  // null in a world of one
  std::vector<int64_t> send_words_, receive_words_;  // [world]
  int64_t sent_bytes_ = 0;
  int64_t attached_bytes_ = 0;
};

}  // namespace rondo
