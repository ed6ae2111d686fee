#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "sharding/handle/nccl_api.h"
#include "tests/support/fake_cuda.h"

namespace rondo::testing {

/// What goes wrong on one device.
struct FakeFault {
  enum class Kind {
    kNone,
    kInitHangs,    ///< the device never joins a communicator
    kAsyncError,   ///< its launch number `launch` never completes; the communicator says so when asked
    kHang,         ///< the same, and nobody says so
    kSlow,         ///< that launch starts late, by `pause`
    kRemoteAbort,  ///< the process is lost at that launch: its peers' communicators say so
  };
  Kind kind = Kind::kNone;
  int device = 0;
  int launch = 0;  // groups, or operations outside of a group, from 0, over all communicators of the device
  std::chrono::milliseconds pause{50};
};

/// A double of NCCL on a FakeMachine: moves bytes between the ranks, adds in rank order.
///
/// Communicators are non-blocking: a new one, a split parent and a launched group are in progress until
/// `comm_get_async_error` has said otherwise; the child of a split is there only then. Strict: counts, types, roots,
/// kinds and groups that differ between ranks fail on all of them with both sides named; an operation on a communicator
/// in progress, a failed, finalised, aborted or destroyed one, a group over two communicators or streams, and a destroy
/// before the end of finalize are violations of the machine. A send or receive outside of a group holds its stream
/// until its peer is at the other one.
class FakeNccl {
 public:
  explicit FakeNccl(FakeMachine& machine, FakeFault fault = {});
  ~FakeNccl();

  /// The table for the thread of one device.
  NcclApi api(int device);

  /// Communicators that were neither destroyed nor aborted.
  std::vector<std::string> leaks() const;

 private:
  struct Comm;
  struct Clique;
  struct Part;
  struct Launch;
  struct Meeting;
  struct Need {
    std::shared_ptr<Meeting> meeting;  // shared with the launches that meet there
    size_t place;
  };
  enum class Life { kAlive, kFinalizing, kDestroyed, kAborted };
  enum class Kind { kSend, kReceive, kAllReduce, kReduceScatter, kReduce, kAllGather, kBroadcast };
  using MeetingKey = std::tuple<Clique*, int, int, int64_t>;  // source and target, or -1; number

  Comm* usable(NcclComm handle, int device, const char* function);
  NcclResult init(int device, NcclComm* comm, int ranks, const NcclUniqueId& id, int rank);
  NcclResult split(int device, NcclComm parent, int color, int key, NcclComm* child);
  NcclResult state_of(int device, NcclComm handle, NcclResult* state);
  NcclResult finalize(int device, NcclComm handle);
  NcclResult destroy(int device, NcclComm handle);
  NcclResult abort(int device, NcclComm handle);
  NcclResult group_end(int device);
  NcclResult add(int device, Part part);
  NcclResult launch(FakeLock& lock, int device, std::vector<Part> parts);
  Clique& clique_of(const std::string& key, const std::string& name, int size);
  Comm& join(int device, Clique& clique, int rank);
  Comm& enter(int device, Clique& clique, int rank);
  void end_as(Comm& comm, Life life);
  void read(const FakeNote& note);
  void read_of_member(const FakeNote& note);
  void read_of_meeting(const FakeNote& note);
  void serve();
  std::shared_ptr<Meeting> meeting_at(const MeetingKey& key);
  static FakeNote note_of(FakeNote::Kind kind, const MeetingKey& key, size_t place);
  void meet(Launch& launch, size_t part);
  bool agree(const Launch& launch);
  bool run(const std::shared_ptr<Launch>& launch, FakeStream& stream);
  bool start_parts(Launch& launch, FakeStream& stream);
  bool peers_have_started(Launch& launch);
  void deliver(Launch& launch, FakeStream& stream);
  bool may_start(Launch& launch);
  void ask_for(const MeetingKey& key, Meeting& meeting, size_t place);
  void fail(Comm& comm, NcclResult result, const std::string& text);
  bool set_error(Comm& comm, NcclResult result, const std::string& text);
  void fail_all(const Clique& clique, const std::string& text);
  void add_life_cycle(NcclApi& api, int device);
  void add_operations(NcclApi& api, int device);

  FakeMachine& machine_;
  const FakeFault fault_;
  // Guarded by the lock of the machine:
  std::vector<std::unique_ptr<Comm>> comms_;
  std::map<std::string, std::unique_ptr<Clique>> cliques_;
  std::map<MeetingKey, std::shared_ptr<Meeting>> meetings_;  // shared with the launches that meet there
  std::vector<int> depth_;                                   // [devices], of group_start
  std::vector<std::vector<Part>> grouped_;                   // [devices]
  std::vector<int> launches_;                                // [devices]
  std::vector<Need> needs_;                                  // of other processes
  int ids_ = 0;
};

}  // namespace rondo::testing
