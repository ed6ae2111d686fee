#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/exchange/scratch_tensor.h"

namespace rondo {

/// How many rows of one matrix go to and come from each rank. The entry of this rank is not sent.
struct MatrixRoute {
  int64_t width = 0;
  std::span<const int64_t> send_rows;     // [world]
  std::span<const int64_t> receive_rows;  // [world]
};

/// Moves rows of several matrices of one type in one all-to-all. The caller writes into and reads from the messages in
/// place, so rows are copied once on each side; what comes from a process of the same host is read where that one wrote
/// it. What stays on this rank never enters a message. Keeps its buffers.
///
///   plan, fill every outgoing(m, r), exchange, read incoming(m, r) until the next plan.
class RowExchange {
 public:
  /// Collective. Messages are on `device`, where `comm` moves them.
  explicit RowExchange(Communicator& comm, at::DeviceType device = at::kCPU);
  ~RowExchange();
  RowExchange(RowExchange&&) noexcept;

  void plan(std::span<const MatrixRoute> routes, at::ScalarType type);

  /// [rows, width] of matrix m to or from rank r != rank(); memory of the message. Incoming rows are read only.
  at::Tensor outgoing(size_t matrix, int rank) const;
  at::Tensor incoming(size_t matrix, int rank) const;

  /// Collective. `what` must outlive the call.
  void exchange(std::string_view what);

  /// Bytes of matrix m that go to other ranks.
  int64_t planned_bytes(size_t matrix) const;

 private:
  struct Message {
    std::vector<int64_t> scalars;  // [world], to or from each rank
    std::vector<int64_t> bytes;    // [world]
    std::vector<int64_t> starts;   // [world * matrices], of each segment in what goes to or comes from its rank
    std::vector<int64_t> rows;     // [world * matrices]
    int64_t total = 0;
  };

  void lay_out(Message& message, std::span<const MatrixRoute> routes, bool sending) const;
  at::Tensor segment(const Message& message, std::byte* message_of_rank, size_t matrix, int rank) const;

  Communicator& comm_;
  at::DeviceType device_;
  std::vector<int64_t> widths_;  // [matrices]
  at::ScalarType type_ = at::kFloat;
  Message sent_, received_;
  std::unique_ptr<MessageWindow> window_;        // null: messages are copied
  at::Tensor send_, receive_;                    // without a window
  ScratchTensor send_memory_, receive_memory_;   //
  std::vector<std::byte*> outgoing_, incoming_;  // [world], of the message to and from each rank
};

}  // namespace rondo
