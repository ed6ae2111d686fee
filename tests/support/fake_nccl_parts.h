#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fake_nccl.h"

// What FakeNccl is made of; for its sources alone.
namespace rondo::testing {

/// Polls that still say "in progress" when all is over.
constexpr int kLingering = 1;

/// The ranks of one communicator.
struct FakeNccl::Clique {
  int size = 0;
  std::string name;
  std::string key;             // the same on all ranks: of the unique id, or of the parent and its split
  std::vector<Comm*> members;  // [size], by rank
  bool complete() const { return std::count(members.begin(), members.end(), nullptr) == 0; }
};

struct FakeNccl::Comm {
  Clique* clique = nullptr;
  int rank = 0;
  int device = 0;
  Life life = Life::kAlive;
  NcclResult error = NcclResult::kSuccess;  // a fatal one stays
  std::string error_text;
  int lingering = kLingering;
  bool settled = false;  // a poll has said that it is no longer in progress
  int splits = 0;
  std::vector<std::pair<Comm*, NcclComm*>> unborn;  // children that the next poll may hand out
  int64_t collectives = 0;
  std::map<std::pair<int, int>, int64_t> transfers;  // by source and target

  void unsettle() {
    lingering = kLingering;
    settled = false;
  }
};

struct FakeNccl::Part {
  Kind kind = Kind::kSend;
  const void* from = nullptr;
  void* to = nullptr;
  size_t count = 0;
  NcclType type = NcclType::kBytes;
  int root = -1;  // of a reduce or broadcast; the peer of a send or receive
  Comm* comm = nullptr;
  FakeStream* stream = nullptr;

  bool is_transfer() const { return kind == Kind::kSend || kind == Kind::kReceive; }
  /// Bytes that are read, and written, on a rank of `world`.
  size_t read_bytes() const {
    const auto world = static_cast<size_t>(comm->clique->size);
    if (kind == Kind::kReceive || (kind == Kind::kBroadcast && comm->rank != root)) return 0;
    return count * size_of(type) * (kind == Kind::kReduceScatter ? world : 1);
  }
  size_t write_bytes() const {
    const auto world = static_cast<size_t>(comm->clique->size);
    if (kind == Kind::kSend || (kind == Kind::kReduce && comm->rank != root)) return 0;
    return count * size_of(type) * (kind == Kind::kAllGather ? world : 1);
  }
  /// Its side of the meeting.
  size_t place() const {
    if (is_transfer()) return kind == Kind::kSend ? 0 : 1;
    return static_cast<size_t>(comm->rank);
  }
  std::string agreement(size_t group) const;
  std::string text(size_t group) const;
};

/// Where the parts of all ranks for one operation come together.
struct FakeNccl::Meeting {
  struct Side {
    bool made = false;             // the rank has made the call
    FakeStream* stream = nullptr;  // if it is of this process
    bool started = false;
    bool asked = false;  // its process knows that it is waited for
    std::vector<std::byte> data;
    std::string text;
    std::string agreement;
  };
  std::vector<Side> sides;  // [ranks]
  int delivered = 0;
};

struct FakeNccl::Launch {
  int number = 0;  // of the device
  int device = 0;
  std::chrono::steady_clock::time_point made = std::chrono::steady_clock::now();
  std::vector<Part> parts;
  std::vector<std::shared_ptr<Meeting>> meetings;  // [parts], shared with the other ranks
  std::vector<MeetingKey> keys;                    // [parts]
  bool started = false;
};

}  // namespace rondo::testing
