#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/bag_sums.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/table_part.h"
#include "sharding/exchange/row_exchange.h"
#include "sharding/exchange/scratch_tensor.h"

namespace rondo {

/// What a step says to the rows.
struct LearningStep {
  int64_t step = 1;
  double learning_rate_factor = 1.0;
};

/// Step 6 of DESIGN 4: gradients of rows and bags to who holds the rows, which adds what several ranks say of one row,
/// in rank order, and updates it once. All tables of a type in one exchange. Keeps its buffers.
class RowLearning {
 public:
  /// The gradients of all rows are scaled down to the norm `clip_norm`; 0: never.
  /// With `staging` the rows are on its device, and so are the gradients.
  RowLearning(std::span<EmbeddingTable> tables, double clip_norm, Communicator& comm, DeviceStaging* staging);

  /// Collective. The gradients are those of rows[t].values and bags[f]; undefined: zeros. Throws as RowStore::update.
  void run(const RoutedIds& routed, std::span<const TableRows> rows, std::span<const at::Tensor> bags,
           const LearningStep& step);

  /// Bytes sent to others so far: gradients of rows, gradients of bags, sums of squares of parts of rows.
  int64_t gradient_bytes() const { return gradient_bytes_; }
  int64_t bag_gradient_bytes() const { return bag_gradient_bytes_; }
  int64_t square_bytes() const { return square_bytes_; }

 private:
  /// A part that learns. Its matrices: gradients of rows, then those of the bags of each feature.
  struct Member {
    TablePart* part;
    size_t index;                       // of the part in its table
    size_t matrix = 0;                  // its first in the message
    at::Tensor mine = {};               // this rank's gradients: of the rows that came home; held by all: of every key
    std::vector<at::Tensor> bags = {};  // of the features that are summed where the rows are
    std::vector<GradientSource> sources = {};  // of the gradients of the rows held here
    RowTerms terms = {};                       // gradients of the rows held here, by what they are the sum of
    RowUpdate update = {};         // of those rows; its gradients are defined where all are added up at once
    ScratchTensor total = {};      // the memory of those
    at::Tensor mean_squares = {};  // of `update`
  };

  struct Group {
    Group(at::ScalarType of_leaves, at::ScalarType on_the_way, Communicator& comm, at::DeviceType device)
        : type(of_leaves), wire(on_the_way), gradients(comm, device), squares(comm, device) {}

    at::ScalarType type, wire;
    std::vector<Member> members;
    RowExchange gradients, squares;
  };

  void take_gradients(Group& group, const RoutedIds& routed, std::span<const TableRows> rows,
                      std::span<const at::Tensor> bags);
  at::Tensor table_gradient(const RoutedIds& routed, size_t table, const TableRows& rows,
                            std::span<const at::Tensor> bags) const;
  at::Tensor hot_gradient(const Member& member, const RoutedIds& routed, const at::Tensor& of_table,
                          std::span<const at::Tensor> bags) const;
  void plan(Group& group, const RoutedIds& routed);
  void fill(const Group& group, const Member& member, const RoutedPart& routed) const;
  void collect(const Group& group, Member& member, const RoutedIds& routed, const LearningStep& step) const;
  void add_up(Member& member) const;
  void measure(const Member& member, const at::Tensor& squares) const;
  void collect_all(Group& group, const RoutedIds& routed, const LearningStep& step) const;
  void exchange_squares(Group& group, const RoutedIds& routed, const LearningStep& step);
  void update(Member& member) const;
  void update_in_blocks(Member& member) const;
  void clip(const LearningStep& step);

  std::span<EmbeddingTable> tables_;
  Communicator& comm_;
  DeviceStaging* staging_;  // null: the rows are in host memory
  std::vector<Group> groups_;
  std::deque<std::vector<int64_t>> route_rows_;  // of the message being planned
  double clip_norm_;
  int64_t gradient_bytes_ = 0;
  int64_t bag_gradient_bytes_ = 0;
  int64_t square_bytes_ = 0;
};

}  // namespace rondo
