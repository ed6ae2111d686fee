#include "sharding/comm/mpi_transport.h"

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

constexpr int kNoteTag = 0;
constexpr uint64_t kTags = 32'768;  // that every MPI library has
constexpr size_t kChannels = 4;
constexpr std::chrono::seconds kClosePatience{5};

void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) [[likely]]
    return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(result, text.data(), &length);
  throw PeerError(concat(call, " failed: ", std::string_view(text.data(), static_cast<size_t>(length))));
}

MPI_Comm duplicate_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  return comm;
}

using NoteBytes = std::array<std::byte, Transport::kNoteBytes>;

/// A note on its way out.
struct OutgoingNote {
  NoteBytes bytes;
  MPI_Request request = MPI_REQUEST_NULL;
};

/// A transfer under way: its pieces.
struct Transfer {
  std::vector<MPI_Request> pieces;
  at::Tensor owner;
};

/// Everything that MPI may touch. Outlives the transport when a transfer has no end.
struct Buffers {
  std::vector<NoteBytes> incoming;  // [world]
  std::vector<std::unique_ptr<OutgoingNote>> outgoing;
  std::vector<Transfer> transfers;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport(MpiSession& session, int64_t piece_bytes)
      : session_(session),
        piece_bytes_(piece_bytes),
        // With a core for each rank a short spin answers fastest; else it only keeps the peer from its core.
        spins_(session.local_size() <= static_cast<int>(std::thread::hardware_concurrency()) ? 400 : 0),
        notes_(duplicate_world()),
        buffers_(std::make_shared<Buffers>()),
        note_requests_(static_cast<size_t>(session.size()), MPI_REQUEST_NULL),
        arrived_(note_requests_.size()),
        statuses_(note_requests_.size()) {
    for (MPI_Comm& channel : channels_) channel = duplicate_world();
    buffers_->incoming.resize(note_requests_.size());
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank()) expect_note(peer);
    }
  }

  int rank() const override { return session_.rank(); }
  int size() const override { return session_.size(); }
  bool shares_host() const override { return size() > 1 && session_.local_size() == size(); }

  void send_note(int peer, std::span<const std::byte> note) override {
    OutgoingNote& out = free_outgoing();
    std::copy(note.begin(), note.end(), out.bytes.begin());
    check_mpi(
        MPI_Isend(out.bytes.data(), static_cast<int>(note.size()), MPI_BYTE, peer, kNoteTag, notes_, &out.request),
        "MPI_Isend");
  }

  void poll(const NoteHandler& handler) override {
    int count = 0;
    do {
      check_mpi(MPI_Testsome(size(), note_requests_.data(), &count, arrived_.data(), statuses_.data()), "MPI_Testsome");
      for (int i = 0; i < count; ++i) {
        take_note(arrived_[static_cast<size_t>(i)], statuses_[static_cast<size_t>(i)], handler);
      }
    } while (count > 0);  // MPI_UNDEFINED, when nothing is expected any more, is negative
  }

  int64_t send(int peer, Lane lane, const ByteSpan& segment) override {
    return start(segment, [&](std::byte* data, int bytes, MPI_Request* request) {
      check_mpi(MPI_Isend(data, bytes, MPI_BYTE, peer, tag_of(lane), channel_of(lane), request), "MPI_Isend");
    });
  }

  int64_t receive(int peer, Lane lane, const ByteSpan& segment) override {
    return start(segment, [&](std::byte* data, int bytes, MPI_Request* request) {
      check_mpi(MPI_Irecv(data, bytes, MPI_BYTE, peer, tag_of(lane), channel_of(lane), request), "MPI_Irecv");
    });
  }

  bool finished(int64_t number) override {
    Transfer& transfer = buffers_->transfers[static_cast<size_t>(number)];
    int over = 0;
    check_mpi(MPI_Testall(static_cast<int>(transfer.pieces.size()), transfer.pieces.data(), &over, MPI_STATUSES_IGNORE),
              "MPI_Testall");
    if (over == 0) return false;
    transfer.pieces.clear();
    transfer.owner.reset();
    free_transfers_.push_back(number);
    return true;
  }

  /// Open MPI moves bytes only inside its calls, so a sleep must stay short against what a message takes.
  void idle(int round) override {
    if (round < spins_) return;
    if (round < spins_ + 200) {
      sched_yield();
      return;
    }
    const auto rest = std::chrono::microseconds(std::min(20 + (round - spins_) / 20, 500));
    std::this_thread::sleep_for(rest);
  }

  void close(bool orderly) override {
    try {
      for (int peer = 0; peer < size(); ++peer) {
        if (peer != rank()) send_note(peer, {});  // an empty note: the last one
      }
      if (orderly && everything_ends()) {
        free_communicators();
        return;
      }
    } catch (const PeerError&) {
      // MPI itself has failed; the job is about to be aborted.
    }
    session_.keep(buffers_);
  }

 private:
  void expect_note(int peer) {
    NoteBytes& bytes = buffers_->incoming[static_cast<size_t>(peer)];
    check_mpi(MPI_Irecv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, peer, kNoteTag, notes_,
                        &note_requests_[static_cast<size_t>(peer)]),
              "MPI_Irecv");
  }

  void take_note(int peer, const MPI_Status& status, const NoteHandler& handler) {
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (bytes == 0) return;  // The peer has closed.
    handler(peer, {buffers_->incoming[static_cast<size_t>(peer)].data(), static_cast<size_t>(bytes)});
    expect_note(peer);
  }

  OutgoingNote& free_outgoing() {
    for (const auto& note : buffers_->outgoing) {
      int over = 1;
      if (note->request != MPI_REQUEST_NULL) check_mpi(MPI_Test(&note->request, &over, MPI_STATUS_IGNORE), "MPI_Test");
      if (over != 0) return *note;
    }
    return *buffers_->outgoing.emplace_back(std::make_unique<OutgoingNote>());
  }

  template <typename StartPiece>
  int64_t start(const ByteSpan& segment, StartPiece start_piece) {
    auto& transfers = buffers_->transfers;
    if (free_transfers_.empty()) {
      free_transfers_.push_back(static_cast<int64_t>(transfers.size()));
      transfers.emplace_back();
    }
    const int64_t number = free_transfers_.back();
    free_transfers_.pop_back();
    Transfer& transfer = transfers[static_cast<size_t>(number)];
    transfer.owner = segment.owner;
    transfer.pieces.resize(static_cast<size_t>((segment.bytes + piece_bytes_ - 1) / piece_bytes_), MPI_REQUEST_NULL);
    int64_t begin = 0;
    for (MPI_Request& piece : transfer.pieces) {
      const auto bytes = static_cast<int>(std::min(piece_bytes_, segment.bytes - begin));
      start_piece(segment.data + begin, bytes, &piece);
      begin += bytes;
    }
    return number;
  }

  static int tag_of(Lane lane) {
    return static_cast<int>((2 * lane.sequence + static_cast<uint64_t>(lane.stage)) % kTags);
  }
  MPI_Comm channel_of(Lane lane) const { return channels_[static_cast<size_t>(lane.channel)]; }

  /// Waits until every peer has closed, too, and my notes are gone. False when that takes too long.
  bool everything_ends() {
    const auto give_up = std::chrono::steady_clock::now() + kClosePatience;
    for (int round = 0; std::chrono::steady_clock::now() < give_up; ++round) {
      poll([](int, std::span<const std::byte>) {});
      const bool closed = std::ranges::all_of(note_requests_, [](MPI_Request r) { return r == MPI_REQUEST_NULL; });
      if (closed && outgoing_are_gone()) return true;
      idle(round);
    }
    return false;
  }

  bool outgoing_are_gone() {
    return std::ranges::all_of(buffers_->outgoing, [](const auto& note) {
      int over = 0;
      check_mpi(MPI_Test(&note->request, &over, MPI_STATUS_IGNORE), "MPI_Test");
      return over != 0;
    });
  }

  void free_communicators() {
    MPI_Comm_free(&notes_);
    for (MPI_Comm& channel : channels_) MPI_Comm_free(&channel);
  }

  MpiSession& session_;
  int64_t piece_bytes_;
  int spins_;
  MPI_Comm notes_;
  std::array<MPI_Comm, kChannels> channels_{};
  std::shared_ptr<Buffers> buffers_;        // shared with the session when a transfer has no end
  std::vector<MPI_Request> note_requests_;  // [world]
  std::vector<int> arrived_;                // of MPI_Testsome
  std::vector<MPI_Status> statuses_;        // of MPI_Testsome
  std::vector<int64_t> free_transfers_;
};

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(MpiSession& session, int64_t piece_bytes) {
  return std::make_unique<MpiTransport>(session, piece_bytes);
}

}  // namespace rondo
