#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/handle/shared_memory.h"

namespace rondo {

/// An all-to-all among processes of one host whose messages are read where they were written: only where they lie is
/// told. A communicator opens it (Communicator::open_window). Every call that says so is collective.
///
///   begin, write, exchange, read incoming(r) until the next begin.
class MessageWindow {
 public:
  /// Collective. Null, on all ranks, when one of them cannot see the memory of another.
  static std::unique_ptr<MessageWindow> open(Communicator& comm);

  /// Memory of this rank's next message, for all ranks together. Two memories take turns: who is a call ahead does not
  /// overwrite what others still read.
  std::byte* begin(int64_t bytes);

  /// Collective. Rank r may read the next send_bytes[r] bytes of the message, for r in order, and expects to read as
  /// many as the other says; throws PeerError otherwise. `what` must outlive the call.
  void exchange(std::span<const int64_t> send_bytes, std::span<const int64_t> receive_bytes, std::string_view what);

  /// What rank r != rank() wrote for this one.
  const std::byte* incoming(int rank) const { return incoming_[static_cast<size_t>(rank)]; }

 private:
  struct Turn {
    std::unique_ptr<SharedMemory> mine;
    std::vector<SharedMemoryView> theirs;  // [world - 1], by rank
  };

  explicit MessageWindow(Communicator& comm);
  bool open_memories();

  Communicator& comm_;
  Turn turns_[2];
  size_t turn_ = 0;
  std::vector<const std::byte*> incoming_;  // [world]
};

}  // namespace rondo
