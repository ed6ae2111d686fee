#include "tests/support/fake_nccl.h"

#include <algorithm>
#include <utility>

#include "sharding/base/check.h"
#include "tests/support/fake_nccl_parts.h"

namespace rondo::testing {

FakeNccl::FakeNccl(FakeMachine& machine, FakeFault fault)
    : machine_(machine),
      fault_(fault),
      depth_(static_cast<size_t>(machine.devices()), 0),
      grouped_(depth_.size()),
      launches_(depth_.size(), 0) {
  const std::lock_guard lock(machine_.mutex());
  machine_.on_note = [this](const FakeNote& note) { read(note); };
  machine_.on_needs = [this] { serve(); };
}

FakeNccl::~FakeNccl() {
  const std::lock_guard lock(machine_.mutex());
  machine_.on_note = {};
  machine_.on_needs = {};
}

std::vector<std::string> FakeNccl::leaks() const {
  const std::lock_guard lock(machine_.mutex());
  std::vector<std::string> found;
  for (const auto& comm : comms_) {
    if (comm->life == Life::kDestroyed || comm->life == Life::kAborted || !machine_.is_here(comm->device)) continue;
    found.push_back(concat("rank ", comm->rank, " of communicator ", comm->clique->name, " was not released"));
  }
  return found;
}

bool FakeNccl::set_error(Comm& comm, NcclResult result, const std::string& text) {
  if (comm.error != NcclResult::kSuccess) return false;
  comm.error = result;
  comm.error_text = text;
  machine_.give_up_waits(comm.device);
  return true;
}

void FakeNccl::fail(Comm& comm, NcclResult result, const std::string& text) {
  if (!set_error(comm, result, text)) return;
  machine_.tell({.kind = FakeNote::Kind::kError,
                 .rank = comm.rank,
                 .value = static_cast<int>(result),
                 .key = comm.clique->key,
                 .text = text});
}

void FakeNccl::fail_all(const Clique& clique, const std::string& text) {
  machine_.violation(concat("communicator ", clique.name, ": ", text));
  for (Comm* const member : clique.members) {
    if (member != nullptr) fail(*member, NcclResult::kInvalidUsage, text);
  }
}

/// Null, with a violation, for a communicator whose life is over.
FakeNccl::Comm* FakeNccl::usable(NcclComm handle, int device, const char* function) {
  machine_.check_thread(device);
  auto* const comm = reinterpret_cast<Comm*>(handle);
  const auto refuse = [&](const char* why) {
    machine_.violation(concat(function, " on a communicator ", why, ", device ", device));
    return nullptr;
  };
  if (comm == nullptr) return refuse("that is not there");
  if (comm->life == Life::kAborted) return refuse("that was aborted");
  if (comm->life == Life::kDestroyed) return refuse("that was destroyed");
  return comm;
}

FakeNccl::Clique& FakeNccl::clique_of(const std::string& key, const std::string& name, int size) {
  auto& clique = cliques_[key];
  if (!clique) {
    clique = std::make_unique<Clique>();
    clique->size = size;
    clique->name = name;
    clique->key = key;
    clique->members.resize(static_cast<size_t>(size));
  }
  return *clique;
}

FakeNccl::Comm& FakeNccl::enter(int device, Clique& clique, int rank) {
  comms_.push_back(std::make_unique<Comm>());
  Comm& comm = *comms_.back();
  comm.clique = &clique;
  comm.rank = rank;
  comm.device = device;
  const bool hangs = fault_.kind == FakeFault::Kind::kInitHangs && fault_.device == device;
  if (!hangs) clique.members[static_cast<size_t>(rank)] = &comm;
  return comm;
}

FakeNccl::Comm& FakeNccl::join(int device, Clique& clique, int rank) {
  machine_.tell(
      {.kind = FakeNote::Kind::kJoins, .rank = rank, .number = clique.size, .key = clique.key, .text = clique.name});
  machine_.changed();
  return enter(device, clique, rank);
}

void FakeNccl::end_as(Comm& comm, Life life) {
  comm.life = life;
  machine_.tell(
      {.kind = FakeNote::Kind::kLife, .rank = comm.rank, .value = static_cast<int>(life), .key = comm.clique->key});
  machine_.changed();
}

NcclResult FakeNccl::init(int device, NcclComm* comm, int ranks, const NcclUniqueId& id, int rank) {
  const std::lock_guard lock(machine_.mutex());
  machine_.check_thread(device);
  Clique& clique = clique_of(id.data(), concat("world ", id.data()), ranks);
  const bool taken = rank < 0 || rank >= clique.size || clique.members[static_cast<size_t>(rank)] != nullptr;
  if (ranks != clique.size || taken) {
    machine_.violation(concat("rank ", rank, " of ", ranks, " joins a communicator of ", clique.size, " ranks"));
    return NcclResult::kInvalidArgument;
  }
  *comm = reinterpret_cast<NcclComm>(&join(device, clique, rank));
  return NcclResult::kInProgress;
}

NcclResult FakeNccl::split(int device, NcclComm handle, int color, int key, NcclComm* child) {
  const std::lock_guard lock(machine_.mutex());
  Comm* const parent = usable(handle, device, "ncclCommSplit");
  if (parent == nullptr || parent->error != NcclResult::kSuccess) return NcclResult::kInvalidUsage;
  if (key != parent->rank || color < 0) machine_.violation("the double splits with key = rank and color >= 0 alone");
  const Clique& whole = *parent->clique;
  const int number = ++parent->splits;
  Clique& clique =
      clique_of(concat(whole.key, "/", number, " color ", color), concat(whole.name, "/", number), whole.size);
  *child = nullptr;
  parent->unsettle();
  parent->unborn.emplace_back(&join(device, clique, parent->rank), child);
  return NcclResult::kInProgress;
}

NcclResult FakeNccl::state_of(int device, NcclComm handle, NcclResult* state) {
  const std::lock_guard lock(machine_.mutex());
  Comm* const comm = usable(handle, device, "ncclCommGetAsyncError");
  if (comm == nullptr) return NcclResult::kInvalidArgument;
  *state = NcclResult::kInProgress;
  const auto all_finalize = [&] {
    return std::all_of(comm->clique->members.begin(), comm->clique->members.end(),
                       [](const Comm* member) { return member != nullptr && member->life != Life::kAlive; });
  };
  bool over = comm->clique->complete();
  for (const auto& [child, place] : comm->unborn) over = over && child->clique->complete();
  if (comm->life == Life::kFinalizing) over = over && all_finalize();
  if (comm->error != NcclResult::kSuccess) {
    *state = comm->error;
  } else if (over && comm->lingering-- <= 0) {
    comm->settled = true;
    for (const auto& [child, place] : comm->unborn) *place = reinterpret_cast<NcclComm>(child);
    comm->unborn.clear();
    *state = NcclResult::kSuccess;
  }
  return NcclResult::kSuccess;
}

NcclResult FakeNccl::finalize(int device, NcclComm handle) {
  const std::lock_guard lock(machine_.mutex());
  Comm* const comm = usable(handle, device, "ncclCommFinalize");
  if (comm == nullptr) return NcclResult::kInvalidArgument;
  if (comm->life == Life::kFinalizing) {
    machine_.violation(concat("device ", device, ": a communicator finalised twice"));
    return NcclResult::kInvalidUsage;
  }
  end_as(*comm, Life::kFinalizing);
  comm->unsettle();
  return NcclResult::kInProgress;
}

NcclResult FakeNccl::destroy(int device, NcclComm handle) {
  const std::lock_guard lock(machine_.mutex());
  Comm* const comm = usable(handle, device, "ncclCommDestroy");
  if (comm == nullptr) return NcclResult::kInvalidArgument;
  if (comm->life != Life::kFinalizing || !comm->settled) {
    machine_.violation(concat("device ", device, ": a communicator destroyed before it was finalised"));
  }
  end_as(*comm, Life::kDestroyed);
  return NcclResult::kSuccess;
}

NcclResult FakeNccl::abort(int device, NcclComm handle) {
  const std::lock_guard lock(machine_.mutex());
  Comm* const comm = usable(handle, device, "ncclCommAbort");
  if (comm == nullptr) return NcclResult::kInvalidArgument;
  end_as(*comm, Life::kAborted);
  for (const auto& [child, place] : comm->unborn) end_as(*child, Life::kAborted);
  return NcclResult::kSuccess;
}

NcclApi FakeNccl::api(int device) {
  NcclApi api;
  add_life_cycle(api, device);
  add_operations(api, device);
  return api;
}

void FakeNccl::add_life_cycle(NcclApi& api, int device) {
  api.get_version = [](int* version) {
    *version = 22'809;
    return NcclResult::kSuccess;
  };
  api.get_unique_id = [this](NcclUniqueId* id) {
    const std::lock_guard lock(machine_.mutex());
    id->fill(0);
    const std::string text = concat("id ", ++ids_);
    std::copy(text.begin(), text.end(), id->begin());
    return NcclResult::kSuccess;
  };
  api.comm_init_rank = [this, device](NcclComm* comm, int ranks, const NcclUniqueId& id, int rank) {
    return init(device, comm, ranks, id, rank);
  };
  api.comm_split = [this, device](NcclComm comm, int color, int key, NcclComm* child) {
    return split(device, comm, color, key, child);
  };
  api.comm_get_async_error = [this, device](NcclComm comm, NcclResult* state) { return state_of(device, comm, state); };
  api.comm_finalize = [this, device](NcclComm comm) { return finalize(device, comm); };
  api.comm_destroy = [this, device](NcclComm comm) { return destroy(device, comm); };
  api.comm_abort = [this, device](NcclComm comm) { return abort(device, comm); };
  api.group_start = [this, device] {
    const std::lock_guard lock(machine_.mutex());
    ++depth_[static_cast<size_t>(device)];
    return NcclResult::kSuccess;
  };
  api.group_end = [this, device] { return group_end(device); };
  api.error_text = [](NcclResult result) -> std::string {
    return result == NcclResult::kRemoteError ? "remote process exited or there was a network error"
                                              : "an error of the double";
  };
  api.last_error = [this](NcclComm comm) -> std::string {
    const std::lock_guard lock(machine_.mutex());
    return comm == nullptr ? "" : reinterpret_cast<Comm*>(comm)->error_text;
  };
}

void FakeNccl::add_operations(NcclApi& api, int device) {
  const auto part = [this, device](Part made, NcclComm comm, CudaStream stream) {
    {
      const std::lock_guard lock(machine_.mutex());
      made.comm = usable(comm, device, "an operation");
      made.stream = &machine_.stream_of(stream, device);
    }
    return add(device, made);
  };
  api.send = [part](const void* from, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream) {
    return part({Kind::kSend, from, nullptr, count, type, peer}, comm, stream);
  };
  api.recv = [part](void* to, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream) {
    return part({Kind::kReceive, nullptr, to, count, type, peer}, comm, stream);
  };
  const auto plain = [part](Kind kind) {
    return [part, kind](const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream) {
      return part({kind, from, to, count, type, -1}, comm, stream);
    };
  };
  api.all_reduce = plain(Kind::kAllReduce);
  api.reduce_scatter = plain(Kind::kReduceScatter);
  api.all_gather = plain(Kind::kAllGather);
  const auto rooted = [part](Kind kind) {
    return [part, kind](const void* from, void* to, size_t count, NcclType type, int root, NcclComm comm,
                        CudaStream stream) { return part({kind, from, to, count, type, root}, comm, stream); };
  };
  api.reduce = rooted(Kind::kReduce);
  api.broadcast = rooted(Kind::kBroadcast);
}

}  // namespace rondo::testing
