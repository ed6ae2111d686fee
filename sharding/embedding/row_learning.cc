#include "sharding/embedding/row_learning.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/copy_bytes.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/bag_sums.h"
#include "sharding/embedding/device_bags.h"
#include "sharding/embedding/pooling.h"
#include "sharding/embedding/row_math.h"
#include "sharding/embedding/row_types.h"
#include "sharding/exchange/wire_codec.h"

namespace rondo {
namespace {

constexpr int64_t kRowGrain = 256;  // rows whose gradients stay in the cache until they are updated

/// What `values` are after they travelled as `wire`.
at::Tensor as_travelled(const at::Tensor& values, at::ScalarType wire) {
  return values.scalar_type() == wire ? values : values.to(wire).to(values.scalar_type());
}

/// Do the ranks of its columns need the squared gradient of whole rows?
bool spreads_squares(const TablePart& part) {
  return part.holders == Holders::kColumns && takes_mean_squares(part.spec().optimizer);
}

}  // namespace

RowLearning::RowLearning(std::span<EmbeddingTable> tables, double clip_norm, Communicator& comm, DeviceStaging* staging)
    : tables_(tables), comm_(comm), staging_(staging), clip_norm_(clip_norm) {
  const at::DeviceType device = staging == nullptr ? at::kCPU : staging->device().tensors;
  for (EmbeddingTable& table : tables_) {
    if (!table.parts[0].learns()) continue;
    const at::ScalarType type = scalar_type(table.spec), wire = wire_type(table.spec.gradient_codec, type);
    auto group = std::ranges::find_if(groups_, [&](const Group& g) { return g.type == type && g.wire == wire; });
    if (group == groups_.end()) {
      groups_.emplace_back(type, wire, comm, device);
      group = std::prev(groups_.end());
    }
    for (size_t p = 0; p < table.parts.size(); ++p) group->members.push_back({.part = &table.parts[p], .index = p});
  }
}

void RowLearning::run(const RoutedIds& routed, std::span<const TableRows> rows, std::span<const at::Tensor> bags,
                      const LearningStep& step) {
  if (staging_ != nullptr) staging_->start_round();
  for (Group& group : groups_) {
    take_gradients(group, routed, rows, bags);
    plan(group, routed);
    for (const Member& member : group.members) {
      fill(group, member, routed.tables[member.part->table].parts[member.index]);
    }
    group.gradients.exchange("row gradients");
    exchange_squares(group, routed, step);
    collect_all(group, routed, step);
    // From the last table back: its rows were looked up last and may still be in the cache.
    for (Member& member : group.members | std::views::reverse) {
      if (clip_norm_ == 0.0) {
        update(member);
      } else {
        add_up(member);
      }
    }
  }
  if (clip_norm_ > 0.0) clip(step);
}

void RowLearning::collect_all(Group& group, const RoutedIds& routed, const LearningStep& step) const {
  if (staging_ != nullptr) {  // one thread calls a device
    for (Member& member : group.members) {
      collect(group, member, routed, step);
      const auto rows = static_cast<int64_t>(member.update.slots.size());
      const int64_t width = member.part->width();
      const at::Tensor sums = member.total.take(rows * width, group.type, staging_->device().tensors);
      member.update.gradients = sums.view({rows, width});
      TermList terms;
      list_terms(member.sources, rows, terms);
      sum_terms(*staging_, terms, member.update.gradients);
    }
    return;
  }
  parallel_for(static_cast<int64_t>(group.members.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      Member& member = group.members[static_cast<size_t>(m)];
      if (!spreads_squares(*member.part)) collect(group, member, routed, step);
    }
  });
}

void RowLearning::update(Member& member) const {
  RowStore& store = member.part->store;
  if (member.update.gradients.defined()) {
    if (!member.update.slots.empty()) store.update(member.update);
  } else {
    update_in_blocks(member);
  }
  member.update = {};
  member.mine = member.mean_squares = at::Tensor();
  member.bags.clear();
  member.sources.clear();
}

/// A few rows at a time: their gradients are made while the rows come to the cache.
void RowLearning::update_in_blocks(Member& member) const {
  const auto scalar_bytes = static_cast<int64_t>(c10::elementSize(scalar_type(member.part->spec())));
  parallel_for(member.terms.rows(), kRowGrain, [&](int64_t begin, int64_t end) {
    const auto first = static_cast<size_t>(begin), count = static_cast<size_t>(end - begin);
    RowUpdate block = member.update;
    block.slots = block.slots.subspan(first, count);
    block.occurrences = block.occurrences.subspan(first, count);
    block.keys = block.keys.subspan(first, count);
    member.part->store.fetch(block.slots);
    thread_local GradientBlock gradients;
    member.terms.resolve(begin, end - begin, gradients);
    block.gradient_rows = gradients.rows;
    block.squares = gradients.squares.data<std::byte>();
    if (block.mean_squares != nullptr) {
      block.mean_squares = static_cast<const std::byte*>(block.mean_squares) + begin * scalar_bytes;
    }
    member.part->store.update(block);
  });
}

/// The gradients of all rows at once, for who must see them before any row is updated. Does it once.
void RowLearning::add_up(Member& member) const {
  if (member.update.gradients.defined()) return;
  const int64_t rows = member.terms.rows(), width = member.part->width();
  member.update.gradients = member.total.take(rows * width, scalar_type(member.part->spec())).view({rows, width});
  parallel_for(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    member.terms.sum(begin, member.update.gradients.narrow(0, begin, end - begin));
  });
}

/// squares [rows, 1] <- sums of the squares of the gradients over the columns held here. What is added up for them is
/// added up again for the update, which takes less time than to write it to memory and to read it.
void RowLearning::measure(const Member& member, const at::Tensor& squares) const {
  const auto scalar_bytes = squares.element_size();
  auto* const out = static_cast<std::byte*>(squares.mutable_data_ptr());
  parallel_for(squares.size(0), kRowGrain, [&](int64_t begin, int64_t end) {
    thread_local GradientBlock gradients;
    member.terms.resolve(begin, end - begin, gradients);
    copy_bytes(gradients.squares.data<std::byte>(), static_cast<size_t>(end - begin) * scalar_bytes,
               out + static_cast<size_t>(begin) * scalar_bytes);
  });
}

/// Updates once the norm of all gradients is known. Replicas agree on theirs, so that of rank 0 counts.
void RowLearning::clip(const LearningStep& step) {
  at::Tensor total = at::zeros({1}, at::kDouble);
  for (const Group& group : groups_) {
    for (const Member& member : group.members) {
      if (member.update.slots.empty() || (member.part->holders == Holders::kAll && comm_.rank() != 0)) continue;
      *total.mutable_data_ptr<double>() += member.part->store.norm_square(member.update);
    }
  }
  comm_.all_reduce(total, {Channel::kExchange, "norm of row gradients"})->wait();
  const double norm_square = *total.const_data_ptr<double>();
  const bool finite = std::isfinite(norm_square);
  for (Group& group : groups_) {
    for (Member& member : group.members) {
      member.update.gradient_factor = finite ? clipping_factor(norm_square, clip_norm_) : 0.0;
      update(member);
    }
  }
  if (finite) return;
  throw DataError(concat("the norm of the row gradients of all ranks is ", std::sqrt(norm_square), " at step ",
                         step.step, "; rank ", comm_.rank(),
                         " has none that is not finite: another rank says which row"));
}

/// What this rank has to say of the rows of the group.
void RowLearning::take_gradients(Group& group, const RoutedIds& routed, std::span<const TableRows> rows,
                                 std::span<const at::Tensor> bags) {
  std::vector<at::Tensor> bag_gradients(bags.size());
  for (size_t f = 0; f < bags.size(); ++f) {
    const RoutedFeature& feature = routed.pooled[f];
    const auto of_table = [&](const Member& member) { return member.part->table == feature.table; };
    if (std::ranges::none_of(group.members, of_table)) continue;
    const at::Tensor& gradient = bags[f].grad();
    bag_gradients[f] = gradient.defined() ? gradient.contiguous() : at::zeros_like(bags[f]);
    RONDO_CHECK(bag_gradients[f].sizes() == bags[f].sizes() && bag_gradients[f].scalar_type() == group.type,
                "gradient of feature ", feature.name);
    if (feature.scale.defined()) bag_gradients[f] = bag_gradients[f].mul(feature.scale);
  }
  at::Tensor of_table;
  for (Member& member : group.members) {
    const size_t t = member.part->table;
    if (member.index > 0) {
      member.mine = as_travelled(hot_gradient(member, routed, of_table, bag_gradients), group.wire);
      continue;
    }
    of_table = table_gradient(routed, t, rows[t], bag_gradients);
    // What all other replicas learn from, this one does, too.
    member.mine = member.part->holders == Holders::kAll ? as_travelled(of_table, group.wire) : of_table;
    if (routed.tables[t].parts[0].send_attached.empty()) continue;
    for (size_t f = 0; f < bags.size(); ++f) {
      if (routed.pooled[f].table == t) member.bags.push_back(bag_gradients[f]);
    }
  }
}

/// Of the rows that came home: what the loss says of them and of the bags that this rank pooled.
at::Tensor RowLearning::table_gradient(const RoutedIds& routed, size_t table, const TableRows& rows,
                                       std::span<const at::Tensor> bags) const {
  const TableSpec& spec = tables_[table].spec;
  const int64_t distinct = routed.tables[table].distinct;
  const at::Tensor& given = rows.values.grad();
  at::Tensor gradient = given.defined() ? given.contiguous() : at::Tensor();
  bool own = false;  // may `gradient` be written to?
  for (size_t f = 0; f < bags.size(); ++f) {
    const RoutedFeature& feature = routed.pooled[f];
    if (feature.table != table || tables_[table].parts[0].sums_partially()) continue;
    const BagList& here = feature.here;
    const at::Tensor more = staging_ != nullptr
                                ? bag_row_gradient(*staging_, bags[f], here, distinct)
                                : bag_row_gradient(bags[f], here.positions, here.offsets, here.weights, distinct);
    if (!gradient.defined()) {
      gradient = more;
    } else {
      gradient = own ? gradient.add_(more) : gradient.add(more);
    }
    own = true;
  }
  if (!gradient.defined()) gradient = at::zeros_like(rows.values);
  RONDO_CHECK(
      gradient.size(0) == distinct && gradient.size(1) == spec.dim && gradient.scalar_type() == scalar_type(spec),
      "gradient of table ", spec.name);
  return gradient;
}

/// Of all keys of the hot part: those whose rows came home, and what this rank pooled beside the partial sums.
at::Tensor RowLearning::hot_gradient(const Member& member, const RoutedIds& routed, const at::Tensor& of_table,
                                     std::span<const at::Tensor> bags) const {
  const size_t table = member.part->table;
  const RoutedPart& part = routed.tables[table].parts[member.index];
  const at::Tensor home = of_table.narrow(0, part.first_home, part.home);
  const auto keys = static_cast<int64_t>(part.keys.size());
  if (!tables_[table].parts[0].sums_partially()) return home;
  at::Tensor gradient = at::zeros({keys, of_table.size(1)}, of_table.scalar_type());
  gradient.narrow(0, 0, part.home).copy_(home);
  for (size_t f = 0; f < bags.size(); ++f) {
    const RoutedFeature& feature = routed.pooled[f];
    if (feature.table != table || !feature.here.defined()) continue;
    const BagList& here = feature.here;
    gradient.add_(bag_row_gradient(bags[f], here.positions, here.offsets, here.weights, keys));
  }
  return gradient;
}

void RowLearning::plan(Group& group, const RoutedIds& routed) {
  const auto world = static_cast<size_t>(comm_.size());
  std::vector<MatrixRoute> routes;
  const auto keep = [&](std::vector<int64_t> rows) -> std::span<const int64_t> {
    return route_rows_.emplace_back(std::move(rows));
  };
  route_rows_.clear();
  for (Member& member : group.members) {
    const TablePart& part = *member.part;
    const RoutedPart& asked = routed.tables[part.table].parts[member.index];
    const bool all = part.holders == Holders::kAll;
    member.matrix = routes.size();
    routes.push_back(
        {part.width(), all ? asked.send_rows : asked.send_home, all ? asked.receive_rows : asked.receive_home});
    for (size_t f = 0; f < member.bags.size(); ++f) {
      std::vector<int64_t> to(world), from(world);
      for (size_t r = 0; r < world; ++r) {
        if (asked.send_attached[r] > 0) to[r] = member.bags[f].size(0);
        from[r] = asked.asked_bags[f * world + r].bags();
      }
      routes.push_back({part.width(), keep(std::move(to)), keep(std::move(from))});
    }
  }
  group.gradients.plan(routes, group.wire);
  for (const Member& member : group.members) {
    gradient_bytes_ += group.gradients.planned_bytes(member.matrix);
    for (size_t f = 0; f < member.bags.size(); ++f) {
      bag_gradient_bytes_ += group.gradients.planned_bytes(member.matrix + 1 + f);
    }
  }
}

/// The part's share of the message.
void RowLearning::fill(const Group& group, const Member& member, const RoutedPart& routed) const {
  const TablePart& part = *member.part;
  for (int rank = 0; rank < comm_.size(); ++rank) {
    if (rank == comm_.rank() || routed.send_rows[static_cast<size_t>(rank)] == 0) continue;
    const int64_t column = part.first_column(rank), width = part.width();
    const at::Tensor out = group.gradients.outgoing(member.matrix, rank);
    const int64_t first = part.holders == Holders::kAll ? 0 : part.first_home(routed, rank);
    out.copy_(member.mine.narrow(0, first, out.size(0)).narrow(1, column, width));
    for (size_t f = 0; f < member.bags.size(); ++f) {
      const at::Tensor bags = group.gradients.outgoing(member.matrix + 1 + f, rank);
      if (bags.size(0) > 0) bags.copy_(member.bags[f].narrow(1, column, width));
    }
  }
}

/// What the ranks say of the rows held here: by source rank, rows that came home before bags.
void RowLearning::collect(const Group& group, Member& member, const RoutedIds& routed, const LearningStep& step) const {
  const TablePart& part = *member.part;
  const RoutedPart& asked = routed.tables[part.table].parts[member.index];
  const int64_t column = std::max<int64_t>(0, part.first_column(comm_.rank()));
  const auto here = [&](const at::Tensor& matrix) { return matrix.narrow(1, column, part.width()); };
  std::vector<GradientSource>& sources = member.sources;
  sources.clear();
  std::span<const int64_t> row_of_key = asked.update_of;
  for (int rank = 0; rank < comm_.size(); ++rank) {
    const auto r = static_cast<size_t>(rank);
    const auto keys = static_cast<size_t>(asked.receive_rows[r]);
    if (keys == 0) continue;
    const std::span<const int64_t> rows = row_of_key.first(row_of_key.empty() ? 0 : keys);
    row_of_key = row_of_key.subspan(rows.size());
    const bool own = rank == comm_.rank(), all = part.holders == Holders::kAll;
    sources.push_back({own ? here(member.mine.narrow(0, all ? 0 : part.first_home(asked, rank),
                                                     all ? asked.send_rows[r] : asked.send_home[r]))
                           : group.gradients.incoming(member.matrix, rank).to(group.type),
                       nullptr, rows});
    for (size_t f = 0; f < member.bags.size(); ++f) {
      const BagList& bags = asked.asked_bags[f * static_cast<size_t>(comm_.size()) + r];
      if (!bags.defined()) continue;
      sources.push_back(
          {own ? here(member.bags[f]) : group.gradients.incoming(member.matrix + 1 + f, rank).to(group.type), &bags,
           rows});
    }
  }
  if (staging_ == nullptr) {
    member.terms.collect(sources, static_cast<int64_t>(asked.updated.size()), part.width(), group.type);
  }
  member.update = {.slots = asked.updated,
                   .gradients = {},
                   .occurrences = asked.updated_occurrences,
                   .step = step.step,
                   .learning_rate_factor = step.learning_rate_factor,
                   .keys = asked.updated_keys,
                   .rank = comm_.rank()};
}

/// Where the columns of a row are spread and it has state as a whole: the sum of its squared gradient over all columns,
/// from the sums of their ranks, added by columns.
void RowLearning::exchange_squares(Group& group, const RoutedIds& routed, const LearningStep& step) {
  const auto world = static_cast<size_t>(comm_.size());
  const int me = comm_.rank();
  std::vector<Member*> spread;
  std::vector<at::Tensor> mine;
  std::vector<MatrixRoute> routes;
  route_rows_.clear();
  for (Member& member : group.members) {
    const TablePart& part = *member.part;
    if (!spreads_squares(part)) continue;
    std::vector<int64_t> rows(world);
    at::Tensor squares;
    if (part.first_column(me) >= 0) {
      collect(group, member, routed, step);
      for (const int rank : part.columns_of) rows[static_cast<size_t>(rank)] = member.terms.rows();
      squares = at::empty({member.terms.rows(), 1}, group.type);
      measure(member, squares);
    }
    const std::span<const int64_t> kept = route_rows_.emplace_back(std::move(rows));
    routes.push_back({1, kept, kept});
    spread.push_back(&member);
    mine.push_back(squares);
  }
  if (spread.empty()) return;
  group.squares.plan(routes, group.type);
  for (size_t m = 0; m < spread.size(); ++m) {
    square_bytes_ += group.squares.planned_bytes(m);
    for (const int rank : spread[m]->part->columns_of) {
      if (rank != me && mine[m].defined()) group.squares.outgoing(m, rank).copy_(mine[m]);
    }
  }
  group.squares.exchange("squares of row gradients");
  for (size_t m = 0; m < spread.size(); ++m) {
    if (!mine[m].defined()) continue;
    at::Tensor sum;
    for (const int rank : spread[m]->part->columns_of) {
      const at::Tensor squares = rank == me ? mine[m] : group.squares.incoming(m, rank);
      sum = sum.defined() ? sum.add_(squares) : squares.clone();
    }
    const int64_t dim = spread[m]->part->spec().dim;
    with_type(group.type, [&]<typename T>(T) {
      for (T& square : std::span(sum.mutable_data_ptr<T>(), static_cast<size_t>(sum.numel()))) {
        square = square / static_cast<T>(dim);  // as RowStore does, which at::Tensor::div does not promise
      }
    });
    spread[m]->mean_squares = sum;
    spread[m]->update.mean_squares = sum.const_data_ptr();
  }
}

}  // namespace rondo
