#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/table_part.h"
#include "sharding/exchange/row_exchange.h"
#include "sharding/exchange/scratch_tensor.h"

namespace rondo {

/// Step 4 of DESIGN 4: rows to who asked, with their counts, and the bags of pooled features; all tables of a type in
/// one exchange. Keeps its buffers.
class RowLookup {
 public:
  /// With `staging` the rows are on its device, and so is what comes back.
  RowLookup(std::span<EmbeddingTable> tables, Communicator& comm, DeviceStaging* staging = nullptr);

  /// Collective. Fills rows[t] and bags[f].
  void run(const RoutedIds& routed, int64_t step, std::span<TableRows> rows, std::span<at::Tensor> bags);

  /// Bytes sent to others so far: rows with their counts, and partial sums of bags.
  int64_t row_bytes() const { return row_bytes_; }
  int64_t bag_bytes() const { return bag_bytes_; }

 private:
  /// A part whose rows travel. Its matrices: rows, counts, then the bags of each feature.
  struct Member {
    TablePart* part;
    size_t matrix = 0;  // its first in the message
  };

  /// The parts that travel together: of one type of leaves, and one on the way.
  struct Group {
    Group(at::ScalarType of_leaves, at::ScalarType on_the_way, Communicator& comm, at::DeviceType device)
        : type(of_leaves), wire(on_the_way), exchange(comm, device) {}

    at::ScalarType type, wire;
    std::vector<Member> members;
    RowExchange exchange;
  };

  TableRows own_rows(const EmbeddingTable& table, const RoutedTable& routed, int64_t step);
  void take_own(const TablePart& part, const RoutedPart& routed, int64_t step, TableRows& rows);
  void plan(Group& group, const RoutedIds& routed);
  void answer(const Group& group, const Member& member, const RoutedIds& routed, int64_t step);
  void send_statistics(const TablePart& part, std::span<const int64_t> slots, int64_t step, const at::Tensor& out);
  void take(const Group& group, const Member& member, const RoutedPart& routed, TableRows& rows) const;
  void partial_sum(const TablePart& part, const RoutedPart& routed, size_t feature, int rank,
                   const at::Tensor& sums) const;
  at::Tensor join_sums(const Group& group, const Member& member, const RoutedPart& routed, size_t feature,
                       const at::Tensor& offsets);
  void join_bags(const RoutedIds& routed, std::span<const TableRows> rows, std::span<at::Tensor> bags);

  std::span<EmbeddingTable> tables_;
  Communicator& comm_;
  DeviceStaging* staging_;  // null: the rows are in host memory
  at::DeviceType device_;
  std::vector<Group> groups_;
  std::deque<std::vector<int64_t>> route_rows_;  // of the message being planned
  ScratchTensor gathered_;
  std::vector<float> counts_;
  std::vector<uint8_t> trained_;
  int64_t row_bytes_ = 0;
  int64_t bag_bytes_ = 0;
};

}  // namespace rondo
