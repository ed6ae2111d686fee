#include <algorithm>
#include <cstring>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/comm/rank_order_sum.h"
#include "tests/support/fake_nccl.h"
#include "tests/support/fake_nccl_parts.h"

// The operations of FakeNccl: how they meet, start and are delivered.
namespace rondo::testing {
namespace {

using std::chrono::steady_clock;

/// How long a busy machine may keep the process of a slow device from trying again.
constexpr std::chrono::seconds kLongestRest{5};

at::ScalarType scalar_type(NcclType type) {
  if (type == NcclType::kFloat32) return at::kFloat;
  return type == NcclType::kFloat64 ? at::kDouble : at::kLong;
}

const char* name_of(NcclType type) {
  if (type == NcclType::kBytes) return "bytes";
  return type == NcclType::kInt64 ? "int64" : type == NcclType::kFloat32 ? "float32" : "float64";
}

}  // namespace

/// What the ranks must have in common.
std::string FakeNccl::Part::agreement(size_t group) const {
  static const char* const kNames[] = {"sends",   "receives",    "all-reduces", "reduce-scatters",
                                       "reduces", "all-gathers", "broadcasts"};
  const std::string amount = concat(count, " ", name_of(type));
  if (is_transfer()) return amount;
  return concat(kNames[static_cast<int>(kind)], " ", amount, root >= 0 ? concat(" with root ", root) : std::string(),
                " in a group of ", group);
}

std::string FakeNccl::Part::text(size_t group) const {
  if (kind == Kind::kSend) return concat("rank ", comm->rank, " sends ", agreement(group), " to rank ", root);
  if (kind == Kind::kReceive) return concat("rank ", comm->rank, " receives ", agreement(group), " from rank ", root);
  return concat("rank ", comm->rank, " ", agreement(group));
}

NcclResult FakeNccl::add(int device, Part part) {
  FakeLock lock(machine_.mutex());
  if (part.comm == nullptr) return NcclResult::kInvalidArgument;
  if (part.comm->error != NcclResult::kSuccess) return part.comm->error;
  if (!part.comm->settled || part.comm->life != Life::kAlive) {
    machine_.violation(concat("device ", device, ": an operation on a communicator that is in progress or finalised"));
    return NcclResult::kInvalidUsage;
  }
  const auto d = static_cast<size_t>(device);
  if (depth_[d] == 0) return launch(lock, device, {part});
  grouped_[d].push_back(part);
  return NcclResult::kSuccess;
}

NcclResult FakeNccl::group_end(int device) {
  FakeLock lock(machine_.mutex());
  const auto d = static_cast<size_t>(device);
  if (depth_[d] == 0) {
    machine_.violation(concat("device ", device, ": ncclGroupEnd without ncclGroupStart"));
    return NcclResult::kInvalidUsage;
  }
  if (--depth_[d] > 0 || grouped_[d].empty()) return NcclResult::kSuccess;
  return launch(lock, device, std::exchange(grouped_[d], {}));
}

NcclResult FakeNccl::launch(FakeLock& lock, int device, std::vector<Part> parts) {
  const auto made = std::make_shared<Launch>();
  made->device = device;
  made->number = launches_[static_cast<size_t>(device)]++;
  made->parts = std::move(parts);
  Comm& comm = *made->parts.front().comm;
  FakeStream& stream = *made->parts.front().stream;
  for (size_t p = 0; p < made->parts.size(); ++p) {
    if (made->parts[p].comm != &comm || made->parts[p].stream != &stream) {
      machine_.violation(concat("device ", device, ": a group over two communicators or streams"));
      return NcclResult::kInvalidUsage;
    }
    meet(*made, p);
  }
  comm.unsettle();
  machine_.enqueue(lock, stream, "launch " + std::to_string(made->number),
                   [this, made](FakeStream& running) { return run(made, running); });
  return NcclResult::kInProgress;
}

FakeNote FakeNccl::note_of(FakeNote::Kind kind, const MeetingKey& key, size_t place) {
  const auto& [clique, source, target, number] = key;
  return {.kind = kind,
          .rank = static_cast<int32_t>(place),
          .source = source,
          .target = target,
          .number = number,
          .key = clique->key};
}

std::shared_ptr<FakeNccl::Meeting> FakeNccl::meeting_at(const MeetingKey& key) {
  auto& meeting = meetings_[key];
  if (!meeting) {
    const auto& [clique, source, target, number] = key;
    meeting = std::make_shared<Meeting>();
    meeting->sides.resize(source >= 0 ? 2 : static_cast<size_t>(clique->size));
  }
  return meeting;
}

/// Brings one part of a launch to its meeting.
void FakeNccl::meet(Launch& launch, size_t index) {
  const Part& part = launch.parts[index];
  Comm& comm = *part.comm;
  MeetingKey key{comm.clique, -1, -1, 0};
  if (part.is_transfer()) {
    const int source = part.kind == Kind::kSend ? comm.rank : part.root;
    const int target = part.kind == Kind::kSend ? part.root : comm.rank;
    // A send to oneself and its receive are two calls, with a number each.
    const std::pair<int, int> lane(source, source == target && part.kind == Kind::kReceive ? -2 : target);
    key = {comm.clique, source, target, comm.transfers[lane]++};
  } else {
    key = {comm.clique, -1, -1, comm.collectives++};
  }
  const auto meeting = meeting_at(key);
  Meeting::Side& mine = meeting->sides[part.place()];
  mine.made = true;
  mine.stream = part.stream;
  mine.text = part.text(launch.parts.size());
  mine.agreement = part.agreement(launch.parts.size());
  launch.meetings.push_back(meeting);
  launch.keys.push_back(key);
  FakeNote note = note_of(FakeNote::Kind::kMeets, key, part.place());
  note.text = mine.text;
  note.agreement = mine.agreement;
  machine_.tell(std::move(note));
}

/// Compares the parts of a launch with those of the peers that are there.
bool FakeNccl::agree(const Launch& launch) {
  for (size_t p = 0; p < launch.parts.size(); ++p) {
    const auto& sides = launch.meetings[p]->sides;
    const Meeting::Side& mine = sides[launch.parts[p].place()];
    for (const Meeting::Side& other : sides) {
      if (!other.made || other.agreement == mine.agreement) continue;
      fail_all(*launch.parts[p].comm->clique, concat(other.text, ", but ", mine.text));
      return false;
    }
  }
  return true;
}

bool FakeNccl::may_start(Launch& launch) {
  const bool faulty = launch.device == fault_.device && launch.number == fault_.launch;
  Comm& comm = *launch.parts.front().comm;
  switch (faulty ? fault_.kind : FakeFault::Kind::kNone) {
    case FakeFault::Kind::kAsyncError:
      fail(comm, NcclResult::kSystemError, concat("injected in launch ", launch.number));
      return false;
    case FakeFault::Kind::kHang:
      return false;
    case FakeFault::Kind::kSlow:
      machine_.expect_change_at(launch.made + fault_.pause + kLongestRest);
      return steady_clock::now() >= launch.made + fault_.pause;
    case FakeFault::Kind::kRemoteAbort:
      for (Comm* const member : comm.clique->members) {
        if (member != &comm) fail(*member, NcclResult::kRemoteError, concat("rank ", comm.rank, " is gone"));
      }
      return false;
    default:
      return true;
  }
}

bool FakeNccl::run(const std::shared_ptr<Launch>& launch, FakeStream& stream) {
  Comm& comm = *launch->parts.front().comm;
  if (comm.life == Life::kAborted) return true;  // its kernels end, and nothing is written
  if (comm.error != NcclResult::kSuccess) return false;
  if (!launch->started && !start_parts(*launch, stream)) return false;
  if (!peers_have_started(*launch)) return false;
  deliver(*launch, stream);
  return true;
}

bool FakeNccl::start_parts(Launch& launch, FakeStream& stream) {
  if (!agree(launch) || !may_start(launch)) return false;
  launch.started = true;
  for (size_t p = 0; p < launch.parts.size(); ++p) {
    const Part& part = launch.parts[p];
    const size_t bytes = part.read_bytes();
    machine_.touch(stream, part.from, bytes, /*writes=*/false);
    Meeting::Side& side = launch.meetings[p]->sides[part.place()];
    side.started = true;
    const auto* const begin = static_cast<const std::byte*>(part.from);
    if (bytes > 0) side.data.assign(begin, begin + bytes);
    FakeNote note = note_of(FakeNote::Kind::kStarts, launch.keys[p], part.place());
    note.data = side.data;
    machine_.tell(std::move(note));
  }
  machine_.changed();
  return true;
}

bool FakeNccl::peers_have_started(Launch& launch) {
  for (size_t p = 0; p < launch.meetings.size(); ++p) {
    const auto& meeting = launch.meetings[p];
    for (size_t place = 0; place < meeting->sides.size(); ++place) {
      Meeting::Side& side = meeting->sides[place];
      if (side.started) continue;
      if (side.stream != nullptr && machine_.advance(*side.stream, [&] { return side.started; })) continue;
      ask_for(launch.keys[p], *meeting, place);
      Comm& comm = *launch.parts.front().comm;
      const auto [clique, source, target, number] = launch.keys[p];
      const int owed = source < 0 ? static_cast<int>(place) : place == 0 ? source : target;
      if (clique->members[static_cast<size_t>(owed)]->life == Life::kAborted) {
        fail(comm, NcclResult::kRemoteError, concat("rank ", owed, " has aborted"));
      }
      return false;
    }
  }
  return true;
}

void FakeNccl::deliver(Launch& launch, FakeStream& stream) {
  for (size_t p = 0; p < launch.parts.size(); ++p) {
    const Part& part = launch.parts[p];
    Meeting& meeting = *launch.meetings[p];
    const size_t bytes = part.write_bytes();
    machine_.touch(stream, part.to, bytes, /*writes=*/true);
    auto* const out = static_cast<std::byte*>(part.to);
    const auto sum = [&](size_t offset) {
      std::vector<const std::byte*> addends;
      for (const auto& side : meeting.sides) addends.push_back(side.data.data() + offset);
      if (bytes > 0) add_in_rank_order(addends, out, static_cast<int64_t>(part.count), scalar_type(part.type));
    };
    const auto copy = [&](const std::vector<std::byte>& data, size_t at) {
      if (!data.empty()) std::memcpy(out + at, data.data(), data.size());
    };
    switch (part.kind) {
      case Kind::kSend:
        break;
      case Kind::kReceive:
        copy(meeting.sides[0].data, 0);
        break;
      case Kind::kAllReduce:
        sum(0);
        break;
      case Kind::kReduceScatter:
        sum(static_cast<size_t>(part.comm->rank) * bytes);
        break;
      case Kind::kReduce:
        if (part.comm->rank == part.root) sum(0);
        break;
      case Kind::kAllGather:
        for (size_t rank = 0; rank < meeting.sides.size(); ++rank) {
          copy(meeting.sides[rank].data, rank * meeting.sides[rank].data.size());
        }
        break;
      case Kind::kBroadcast:
        copy(meeting.sides[static_cast<size_t>(part.root)].data, 0);
        break;
    }
    machine_.tell(note_of(FakeNote::Kind::kDelivers, launch.keys[p], part.place()));
    if (++meeting.delivered == static_cast<int>(meeting.sides.size())) meetings_.erase(launch.keys[p]);
  }
}

}  // namespace rondo::testing
