#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

class MessageWindow;

/// What a collective is for. Calls of one purpose complete in the order of issue; calls of different purposes may
/// overlap. Every rank issues the calls of all purposes in one and the same order (DESIGN 3).
enum class Channel : uint8_t {
  kControl,    ///< sizes, flags, agreement; host memory
  kExchange,   ///< ids, rows, row gradients
  kGradients,  ///< dense gradients
  kBackward,   ///< collectives inside forward and backward of the loss: negatives, dealt texts
};

/// Which deadline a wait has (CommunicatorOptions).
enum class Phase : uint8_t { kStart, kStep, kEvaluation, kCheckpoint };

struct CommunicatorOptions {
  /// Longest wait for peers, by phase. A rank that waits longer throws PeerError (kIoOrDeadline) that names the peers
  /// owed.
  std::chrono::milliseconds start_deadline{120'000};
  std::chrono::milliseconds step_deadline{300'000};
  std::chrono::milliseconds evaluation_deadline{1'800'000};
  std::chrono::milliseconds checkpoint_deadline{1'800'000};

  /// Longest message that a backend hands to its library at once; longer segments go in pieces. In [1, 1 GiB].
  int64_t piece_bytes = int64_t{512} << 20;

  /// May processes of one host read each other's messages in place (open_window)?
  bool share_memory = true;

  std::chrono::milliseconds deadline(Phase phase) const;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const CommunicatorOptions& options);

/// What a call is for and what it carries. `what` ("row ids", "gradient bucket 3") travels in the header that every
/// collective starts with and stands in logs and errors; it must be the same on all ranks and outlive the call.
struct CallTag {
  Channel channel = Channel::kControl;
  std::string_view what;
};

/// A collective under way. The caller owes a `wait()` before it reads the output or touches the input; the tensors
/// stay alive until then. Destroying it without a wait waits (and drops the error).
class Work {
 public:
  virtual ~Work() = default;

  /// Returns once the output is complete. Throws PeerError if a peer is lost, called something else, or the deadline
  /// of the phase of issue passes. A second wait returns at once.
  virtual void wait() = 0;
};

/// The collectives that a backward pass still owes: each differentiable one owes a call there. What else is sent during
/// backward (gradient buckets) keeps its distance until they are made, so that all ranks make all calls in one order.
class BackwardCalls {
 public:
  void owe() { ++owed_; }

  /// One of them has been made.
  void made() {
    if (owed_ > 0 && --owed_ == 0 && on_settled) on_settled();
  }

  bool settled() const { return owed_ == 0; }

  /// A pass may leave calls unmade, by an exception: forgets them.
  void reset() { owed_ = 0; }

  /// Called when the last one has been made; may be empty.
  std::function<void()> on_settled;

 private:
  int owed_ = 0;
};

/// Collective operations among the ranks of one job.
///
/// Tensors are contiguous and on the device of the backend; any dtype for movement, fp32, fp64 and int64 for sums.
/// "rows" below are entries of the first dimension; the others agree between ranks. Zero rows are legal everywhere.
/// Every rank makes the same calls in the same order; a call that differs between ranks is a PeerError on both ends
/// that says who called what. Sums add in rank order: ((r0 + r1) + r2) + ..., bit-equal on `thread` and `mpi`.
/// One thread per rank.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // in [0, size())
  virtual int size() const = 0;

  /// Deadline of the calls that follow.
  virtual void set_phase(Phase phase) = 0;

  /// Sums `values` over ranks, in place; same shape on every rank.
  virtual std::unique_ptr<Work> all_reduce(at::Tensor values, CallTag tag) = 0;

  /// Sums `input` over ranks; rank r receives its `rows[r]` rows, in rank order of the segments. `input` has
  /// sum(rows) rows, `output` rows[rank()]. Same `rows` on every rank.
  virtual std::unique_ptr<Work> reduce_scatter(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                               CallTag tag) = 0;

  /// Concatenates the inputs of all ranks in rank order. `input` has rows[rank()] rows, `output` sum(rows).
  /// Same `rows` on every rank.
  virtual std::unique_ptr<Work> all_gather(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                           CallTag tag) = 0;

  /// Sends the next send_rows[r] rows of `input` to rank r, for r in order; receives receive_rows[r] rows from rank r
  /// into the next rows of `output`. send_rows[r] here equals receive_rows[rank()] there, or both throw.
  virtual std::unique_ptr<Work> all_to_all(at::Tensor input, std::span<const int64_t> send_rows, at::Tensor output,
                                           std::span<const int64_t> receive_rows, CallTag tag) = 0;

  /// Copies `values` of `root` to every rank, in place.
  virtual std::unique_ptr<Work> broadcast(at::Tensor values, int root, CallTag tag) = 0;

  /// Returns once every rank has entered.
  virtual void barrier(CallTag tag) = 0;

  /// Moves what is under way (Open MPI does so only inside MPI calls). Cheap; called between stages and layers.
  virtual void progress() = 0;

  /// A way for messages that the ranks read where they lie; null, on all ranks, where that cannot be. Collective.
  virtual std::unique_ptr<MessageWindow> open_window();

  BackwardCalls& backward_calls() { return backward_calls_; }

 private:
  BackwardCalls backward_calls_;
};

/// Agreement on errors: every rank calls it with its own verdict after work that may fail on some ranks only (reading
/// a file, writing a shard). Returns if all are well; else throws on all ranks: `mine` again on the ranks that failed,
/// PeerError with the text of the lowest failed rank on the others.
void agree(Communicator& comm, const std::exception_ptr& mine, std::string_view what);

/// Value of rank 0 on every rank; sum and largest over ranks of a host number. Control messages, blocking.
int64_t broadcast_value(Communicator& comm, int64_t value, std::string_view what);
int64_t sum_of(Communicator& comm, int64_t value, std::string_view what);
int64_t largest_of(Communicator& comm, int64_t value, std::string_view what);

/// Text of rank 0 on every rank.
std::string broadcast_text(Communicator& comm, const std::string& text, std::string_view what);

/// Rows of every rank, in rank order: the sizes for an uneven all_gather.
std::vector<int64_t> gather_sizes(Communicator& comm, int64_t mine, std::string_view what);

}  // namespace rondo
