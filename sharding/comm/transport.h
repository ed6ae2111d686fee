#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Bytes inside a tensor, which stays alive as long as a transfer may touch them.
struct ByteSpan {
  std::byte* data = nullptr;
  int64_t bytes = 0;
  at::Tensor owner;
};

/// Tells transfers of one pair of ranks apart: the call they belong to and the stage of its algorithm.
struct Lane {
  Channel channel = Channel::kControl;
  uint64_t sequence = 0;
  int stage = 0;

  bool operator==(const Lane&) const = default;
};

/// Bytes between the ranks of one job: what the collectives are written over. Two kinds: small *notes*, copied, in one
/// ordered stream per pair; and *transfers* of any length, from memory to memory. One thread per rank.
class Transport {
 public:
  /// Longest note: what Open MPI sends eagerly between processes of one node.
  static constexpr int64_t kNoteBytes = 3'968;

  using NoteHandler = std::function<void(int peer, std::span<const std::byte> note)>;

  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Are the ranks several processes, all on one host?
  virtual bool shares_host() const = 0;

  /// Sends a copy of `note` to another rank. REQUIRES: 0 < note.size() <= kNoteBytes.
  virtual void send_note(int peer, std::span<const std::byte> note) = 0;

  /// Moves what is under way and hands over the notes that have arrived, in order per peer. The bytes are valid inside
  /// the call. `handler` may call everything here but poll.
  virtual void poll(const NoteHandler& handler) = 0;

  /// Starts a transfer with another rank and returns its number. Both ends name the same lane and the same bytes > 0.
  virtual int64_t send(int peer, Lane lane, const ByteSpan& segment) = 0;
  virtual int64_t receive(int peer, Lane lane, const ByteSpan& segment) = 0;

  /// Is the transfer over? Once it is, its number is free for another one and must not be asked for again.
  virtual bool finished(int64_t transfer) = 0;

  /// Rests until something may have arrived; `round` counts the fruitless polls before. Never longer than 10 ms.
  virtual void idle(int round) = 0;

  /// The last call. When `orderly`, all transfers are over and every peer does the same; else memory of transfers that
  /// may still be touched is kept alive.
  virtual void close(bool orderly) = 0;
};

}  // namespace rondo
