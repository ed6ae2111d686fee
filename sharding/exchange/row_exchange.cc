#include "sharding/exchange/row_exchange.h"

#include "sharding/base/check.h"

namespace rondo {

void RowExchange::plan(std::span<const MatrixRoute> routes, at::ScalarType type) {
  widths_.clear();
  for (const MatrixRoute& route : routes) widths_.push_back(route.width);
  lay_out(sent_, routes, true);
  lay_out(received_, routes, false);
  send_ = send_memory_.take(sent_.total, type);
  receive_ = receive_memory_.take(received_.total, type);
}

void RowExchange::lay_out(Message& message, std::span<const MatrixRoute> routes, bool sending) const {
  message.scalars.assign(static_cast<size_t>(comm_.size()), 0);
  message.starts.clear();
  message.rows.clear();
  message.total = 0;
  for (int rank = 0; rank < comm_.size(); ++rank) {
    const int64_t before = message.total;
    for (const MatrixRoute& route : routes) {
      const int64_t rows = (sending ? route.send_rows : route.receive_rows)[rank];
      const int64_t moved = rank == comm_.rank() ? 0 : rows;
      message.starts.push_back(message.total);
      message.rows.push_back(moved);
      message.total += moved * route.width;
    }
    message.scalars[static_cast<size_t>(rank)] = message.total - before;
  }
}

at::Tensor RowExchange::segment(const Message& message, const at::Tensor& memory, size_t matrix, int rank) const {
  RONDO_CHECK(matrix < widths_.size() && rank != comm_.rank(), "matrix ", matrix, ", rank ", rank);
  const size_t at = static_cast<size_t>(rank) * widths_.size() + matrix;
  const int64_t rows = message.rows[at], width = widths_[matrix];
  return memory.narrow(0, message.starts[at], rows * width).view({rows, width});
}

int64_t RowExchange::planned_bytes(size_t matrix) const {
  int64_t rows = 0;
  for (size_t at = matrix; at < sent_.rows.size(); at += widths_.size()) rows += sent_.rows[at];
  return rows * widths_[matrix] * static_cast<int64_t>(send_.element_size());
}

void RowExchange::exchange(std::string_view what) {
  if (comm_.size() == 1) return;
  comm_.all_to_all(send_, sent_.scalars, receive_, received_.scalars, {Channel::kExchange, what})->wait();
}

}  // namespace rondo
