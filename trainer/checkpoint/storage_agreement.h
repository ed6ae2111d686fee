#pragma once

#include <functional>
#include <string_view>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Runs `body` on every rank, then agrees: returns if it did well everywhere. Else throws on all ranks: the error
/// itself where it happened, StorageError with the text of the lowest failed rank elsewhere. `body` calls no
/// collective; what it throws outside our error types becomes a StorageError. `what` outlives the call.
void on_each_rank(Communicator& comm, std::string_view what, const std::function<void()>& body);

/// The same for work of rank 0 alone.
void on_rank_zero(Communicator& comm, std::string_view what, const std::function<void()>& body);

/// Waits have the deadline of checkpoints until it ends, that of steps after.
class CheckpointPhase {
 public:
  explicit CheckpointPhase(Communicator& comm) : comm_(comm) { comm_.set_phase(Phase::kCheckpoint); }
  ~CheckpointPhase() { comm_.set_phase(Phase::kStep); }
  CheckpointPhase(const CheckpointPhase&) = delete;
  CheckpointPhase& operator=(const CheckpointPhase&) = delete;

 private:
  Communicator& comm_;
};

}  // namespace rondo
