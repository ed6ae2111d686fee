#include "sharding/comm/message_window.h"

#include <ATen/ops/empty.h>
#include <unistd.h>

#include <random>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

/// What a rank says of its memories.
enum Address : size_t { kProcess, kToken, kFirstDescriptor, kSecondDescriptor, kAddressWords };
constexpr int64_t kNobody = -1;

/// What a rank says to another one of a message.
enum Note : size_t { kStart, kBytes, kCapacity, kNoteWords };

uint64_t random_token() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

MessageWindow::MessageWindow(Communicator& comm) : comm_(comm), incoming_(static_cast<size_t>(comm.size())) {}

std::unique_ptr<MessageWindow> MessageWindow::open(Communicator& comm) {
  std::unique_ptr<MessageWindow> window(new MessageWindow(comm));
  const bool opened = window->open_memories();
  return sum_of(comm, opened ? 0 : 1, "shared memory opened") == 0 ? std::move(window) : nullptr;
}

/// Collective. False: this rank lacks one.
bool MessageWindow::open_memories() {
  const uint64_t token = random_token();
  at::Tensor mine = at::empty({1, kAddressWords}, at::kLong), all = at::empty({comm_.size(), kAddressWords}, at::kLong);
  auto* const address = mine.mutable_data_ptr<int64_t>();
  std::fill_n(address, static_cast<size_t>(kAddressWords), kNobody);
  bool opened = true;
  try {
    for (Turn& turn : turns_) turn.mine = std::make_unique<SharedMemory>(token);
    address[kProcess] = getpid();
    address[kToken] = static_cast<int64_t>(token);
    address[kFirstDescriptor] = turns_[0].mine->descriptor();
    address[kSecondDescriptor] = turns_[1].mine->descriptor();
  } catch (const StorageError&) {
    opened = false;
  }
  const std::vector<int64_t> rows(static_cast<size_t>(comm_.size()), 1);
  comm_.all_gather(mine, all, rows, {Channel::kControl, "addresses of shared memory"})->wait();
  for (int rank = 0; rank < comm_.size() && opened; ++rank) {
    if (rank == comm_.rank()) continue;
    const int64_t* const theirs = all.const_data_ptr<int64_t>() + rank * static_cast<int64_t>(kAddressWords);
    try {
      if (theirs[kProcess] == kNobody) return false;
      for (size_t t = 0; t < 2; ++t) {
        turns_[t].theirs.emplace_back(static_cast<pid_t>(theirs[kProcess]),
                                      static_cast<int>(theirs[kFirstDescriptor + t]),
                                      static_cast<uint64_t>(theirs[kToken]));
      }
    } catch (const StorageError&) {
      opened = false;
    }
  }
  return opened;
}

std::byte* MessageWindow::begin(int64_t bytes) {
  turn_ ^= 1;
  return turns_[turn_].mine->reserve(bytes);
}

void MessageWindow::exchange(std::span<const int64_t> send_bytes, std::span<const int64_t> receive_bytes,
                             std::string_view what) {
  const auto world = static_cast<int64_t>(comm_.size());
  at::Tensor notes = at::empty({world, kNoteWords}, at::kLong), heard = at::empty({world, kNoteWords}, at::kLong);
  auto* const note = notes.mutable_data_ptr<int64_t>();
  int64_t start = 0;
  for (size_t r = 0; r < send_bytes.size(); start += send_bytes[r++]) {
    int64_t* const to = note + r * kNoteWords;
    to[kStart] = start;
    to[kBytes] = send_bytes[r];
    to[kCapacity] = turns_[turn_].mine->capacity();
  }
  const std::vector<int64_t> rows(static_cast<size_t>(world), 1);
  comm_.all_to_all(notes, rows, heard, rows, {Channel::kExchange, what})->wait();
  size_t peer = 0;
  for (int rank = 0; rank < world; ++rank) {
    if (rank == comm_.rank()) continue;
    const int64_t* const from = heard.const_data_ptr<int64_t>() + rank * static_cast<int64_t>(kNoteWords);
    const auto r = static_cast<size_t>(rank);
    if (from[kBytes] != receive_bytes[r]) {
      throw PeerError(concat("rank ", comm_.rank(), " expects ", receive_bytes[r], " bytes of \"", what,
                             "\" from rank ", rank, ", which sends ", from[kBytes]));
    }
    incoming_[r] = turns_[turn_].theirs[peer++].memory(from[kCapacity]) + from[kStart];
  }
}

}  // namespace rondo
