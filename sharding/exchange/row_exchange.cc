#include "sharding/exchange/row_exchange.h"

#include <ATen/ops/from_blob.h>

#include <numeric>

#include "sharding/base/check.h"
#include "sharding/comm/message_window.h"

namespace rondo {
namespace {

/// Where the parts of a message that starts at `memory` begin.
void lay_along(std::byte* memory, std::span<const int64_t> bytes, std::vector<std::byte*>& starts) {
  starts.clear();
  for (const int64_t part : bytes) {
    starts.push_back(memory);
    memory += part;
  }
}

}  // namespace

RowExchange::RowExchange(Communicator& comm, at::DeviceType device)
    : comm_(comm), device_(device), window_(device == at::kCPU ? comm.open_window() : nullptr) {}
RowExchange::~RowExchange() = default;
RowExchange::RowExchange(RowExchange&&) noexcept = default;

void RowExchange::plan(std::span<const MatrixRoute> routes, at::ScalarType type) {
  type_ = type;
  widths_.clear();
  for (const MatrixRoute& route : routes) widths_.push_back(route.width);
  lay_out(sent_, routes, true);
  lay_out(received_, routes, false);
  if (window_ != nullptr) {
    const int64_t bytes = std::accumulate(sent_.bytes.begin(), sent_.bytes.end(), int64_t{0});
    lay_along(window_->begin(bytes), sent_.bytes, outgoing_);
    incoming_.assign(outgoing_.size(), nullptr);
    return;
  }
  send_ = send_memory_.take(sent_.total, type, device_);
  receive_ = receive_memory_.take(received_.total, type, device_);
  lay_along(static_cast<std::byte*>(send_.mutable_data_ptr()), sent_.bytes, outgoing_);
  lay_along(static_cast<std::byte*>(receive_.mutable_data_ptr()), received_.bytes, incoming_);
}

void RowExchange::lay_out(Message& message, std::span<const MatrixRoute> routes, bool sending) const {
  const auto scalar_bytes = static_cast<int64_t>(c10::elementSize(type_));
  message.scalars.clear();
  message.bytes.clear();
  message.starts.clear();
  message.rows.clear();
  message.total = 0;
  for (int rank = 0; rank < comm_.size(); ++rank) {
    int64_t scalars = 0;
    for (const MatrixRoute& route : routes) {
      const int64_t rows = (sending ? route.send_rows : route.receive_rows)[rank];
      const int64_t moved = rank == comm_.rank() ? 0 : rows;
      message.starts.push_back(scalars * scalar_bytes);
      message.rows.push_back(moved);
      scalars += moved * route.width;
    }
    message.scalars.push_back(scalars);
    message.bytes.push_back(scalars * scalar_bytes);
    message.total += scalars;
  }
}

at::Tensor RowExchange::outgoing(size_t matrix, int rank) const {
  return segment(sent_, outgoing_[static_cast<size_t>(rank)], matrix, rank);
}

at::Tensor RowExchange::incoming(size_t matrix, int rank) const {
  return segment(received_, incoming_[static_cast<size_t>(rank)], matrix, rank);
}

at::Tensor RowExchange::segment(const Message& message, std::byte* message_of_rank, size_t matrix, int rank) const {
  RONDO_CHECK(matrix < widths_.size() && rank != comm_.rank(), "matrix ", matrix, ", rank ", rank);
  const size_t at = static_cast<size_t>(rank) * widths_.size() + matrix;
  RONDO_CHECK(message_of_rank != nullptr || message.rows[at] == 0, "rows of rank ", rank, " before the exchange");
  return at::from_blob(message_of_rank + message.starts[at], {message.rows[at], widths_[matrix]},
                       at::TensorOptions(device_).dtype(type_));
}

int64_t RowExchange::planned_bytes(size_t matrix) const {
  int64_t rows = 0;
  for (size_t at = matrix; at < sent_.rows.size(); at += widths_.size()) rows += sent_.rows[at];
  return rows * widths_[matrix] * static_cast<int64_t>(c10::elementSize(type_));
}

void RowExchange::exchange(std::string_view what) {
  if (comm_.size() == 1) return;
  if (window_ == nullptr) {
    comm_.all_to_all(send_, sent_.scalars, receive_, received_.scalars, {Channel::kExchange, what})->wait();
    return;
  }
  window_->exchange(sent_.bytes, received_.bytes, what);
  for (int rank = 0; rank < comm_.size(); ++rank) {
    const std::byte* const theirs = window_->incoming(rank);
    incoming_[static_cast<size_t>(rank)] = const_cast<std::byte*>(theirs);  // a tensor knows no read-only memory
  }
}

}  // namespace rondo
