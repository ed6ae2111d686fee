#include "sharding/embedding/row_lookup.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/embedding/bag_sums.h"
#include "sharding/embedding/device_bags.h"
#include "sharding/embedding/device_rows.h"
#include "sharding/embedding/pooling.h"
#include "sharding/exchange/wire_codec.h"

namespace rondo {
namespace {

/// Of contiguous tensors of one shape.
void copy_numbers(const at::Tensor& from, const at::Tensor& to) {
  number_copy(from.scalar_type(), to.scalar_type())(from.const_data_ptr(), to.data_ptr(), from.numel());
}

/// Counts travel as fp32 with the rows, in whole numbers of the message's type.
int64_t count_width(at::ScalarType wire) {
  return std::max<int64_t>(1, static_cast<int64_t>(sizeof(float) / c10::elementSize(wire)));
}

/// Counts that have travelled, the first number of each row of `told`, on a device.
void take_counts(const at::Tensor& told, TableRows& rows, int64_t first) {
  const at::Tensor count = told.select(1, 0);
  rows.trained.narrow(0, first, told.size(0)).copy_(count.ge(0.0));
  rows.counts.narrow(0, first, told.size(0)).copy_(count.clamp_min(0.0));
}

at::DeviceType device_of(const DeviceStaging* staging) {
  return staging == nullptr ? at::kCPU : staging->device().tensors;
}

/// The slots that `rank` asks for, the first `count` of them.
std::span<const int64_t> slots_for(const RoutedPart& routed, int rank, int64_t count) {
  return std::span(routed.slots)
      .subspan(static_cast<size_t>(sum_before(routed.receive_rows, rank)), static_cast<size_t>(count));
}

/// The places of this table's features in RoutedIds::pooled.
std::vector<size_t> features_of(const RoutedIds& routed, size_t table) {
  std::vector<size_t> features;
  for (size_t f = 0; f < routed.pooled.size(); ++f) {
    if (routed.pooled[f].table == table) features.push_back(f);
  }
  return features;
}

}  // namespace

RowLookup::RowLookup(std::span<EmbeddingTable> tables, Communicator& comm, DeviceStaging* staging)
    : tables_(tables), comm_(comm), staging_(staging), device_(device_of(staging)) {
  for (EmbeddingTable& table : tables_) {
    TablePart& part = table.parts[0];
    if (part.holders == Holders::kAll) continue;
    const at::ScalarType type = scalar_type(table.spec);
    const at::ScalarType wire = wire_type(table.spec.row_codec, scalar_type(table.spec.row_type));
    auto group = std::ranges::find_if(groups_, [&](const Group& g) { return g.type == type && g.wire == wire; });
    if (group == groups_.end()) {
      groups_.emplace_back(type, wire, comm, device_);
      group = std::prev(groups_.end());
    }
    group->members.push_back({&part});
  }
}

void RowLookup::run(const RoutedIds& routed, int64_t step, std::span<TableRows> rows, std::span<at::Tensor> bags) {
  if (staging_ != nullptr) staging_->start_round();
  for (size_t t = 0; t < tables_.size(); ++t) rows[t] = own_rows(tables_[t], routed.tables[t], step);
  for (Group& group : groups_) {
    plan(group, routed);
    for (const Member& member : group.members) answer(group, member, routed, step);
    group.exchange.exchange("rows");
    for (const Member& member : group.members) {
      const size_t t = member.part->table;
      take(group, member, routed.tables[t].parts[0], rows[t]);
      if (routed.tables[t].parts[0].send_attached.empty()) continue;
      const std::vector<size_t> features = features_of(routed, t);
      for (size_t f = 0; f < features.size(); ++f) {
        bags[features[f]] = join_sums(group, member, routed.tables[t].parts[0], f, routed.pooled[features[f]].offsets);
      }
    }
  }
  join_bags(routed, rows, bags);
}

/// The rows that this rank answers itself; the rest of the result is not yet filled.
TableRows RowLookup::own_rows(const EmbeddingTable& table, const RoutedTable& routed, int64_t step) {
  const at::TensorOptions here(device_);
  TableRows rows{.values = at::empty({routed.distinct, table.spec.dim}, here.dtype(scalar_type(table.spec))),
                 .counts = at::empty({routed.distinct}, here.dtype(at::kFloat)),
                 .trained = at::empty({routed.distinct}, here.dtype(at::kBool))};
  for (size_t p = 0; p < table.parts.size(); ++p) take_own(table.parts[p], routed.parts[p], step, rows);
  return rows;
}

void RowLookup::take_own(const TablePart& part, const RoutedPart& routed, int64_t step, TableRows& rows) {
  const int me = comm_.rank();
  const int64_t first = part.first_home(routed, me), count = routed.send_home[static_cast<size_t>(me)];
  const auto mine = slots_for(routed, me, count);
  if (part.holders == Holders::kColumns) {
    const int64_t column = part.first_column(me);
    if (column < 0) return;
    at::Tensor values = gathered_.take(count * part.width(), rows.values.scalar_type()).view({count, part.width()});
    part.store.gather(mine, values);
    rows.values.narrow(0, first, count).narrow(1, column, part.width()).copy_(values);
    if (column > 0) return;
  } else {
    at::Tensor values = rows.values.narrow(0, first, count);
    part.store.gather(mine, values);
  }
  if (DeviceRows* const device = part.store.device()) {
    const at::Tensor told = at::empty({count, 1}, rows.counts.options());
    device->tell_counts(mine, step - 1, told);
    return take_counts(told, rows, first);
  }
  part.store.statistics(mine, step, {rows.counts.mutable_data_ptr<float>() + first, mine.size()},
                        {reinterpret_cast<uint8_t*>(rows.trained.mutable_data_ptr<bool>()) + first, mine.size()});
}

/// Who sends how much of what. Counts of a column-wise table come from the first of its columns' ranks alone.
void RowLookup::plan(Group& group, const RoutedIds& routed) {
  const auto world = static_cast<size_t>(comm_.size());
  const int me = comm_.rank();
  std::vector<MatrixRoute> routes;
  const auto keep = [&](std::vector<int64_t> rows) -> std::span<const int64_t> {
    return route_rows_.emplace_back(std::move(rows));
  };
  route_rows_.clear();
  for (Member& member : group.members) {
    const TablePart& part = *member.part;
    const RoutedPart& asked = routed.tables[part.table].parts[0];
    member.matrix = routes.size();
    routes.push_back({part.width(), asked.receive_home, asked.send_home});
    if (part.holders == Holders::kOne) {
      routes.push_back({count_width(group.wire), asked.receive_home, asked.send_home});
    } else {
      const auto first = static_cast<size_t>(part.columns_of.front());
      std::vector<int64_t> from(world);
      from[first] = asked.send_home[first];
      const bool tells = part.first_column(me) == 0;
      routes.push_back({count_width(group.wire), keep(tells ? asked.receive_home : std::vector<int64_t>(world)),
                        keep(std::move(from))});
    }
    if (asked.send_attached.empty()) continue;
    const std::vector<size_t> features = features_of(routed, part.table);
    for (size_t f = 0; f < features.size(); ++f) {
      std::vector<int64_t> to(world), from(world);
      for (size_t r = 0; r < world; ++r) {
        to[r] = asked.asked_bags[f * world + r].bags();
        if (asked.send_attached[r] > 0) from[r] = routed.pooled[features[f]].offsets.size(0) - 1;
      }
      routes.push_back({part.width(), keep(std::move(to)), keep(std::move(from))});
    }
  }
  group.exchange.plan(routes, group.wire);
  for (size_t m = 0, next = 0; m < routes.size(); ++m) {
    while (next + 1 < group.members.size() && group.members[next + 1].matrix <= m) ++next;
    const bool bags = m >= group.members[next].matrix + 2;
    (bags ? bag_bytes_ : row_bytes_) += group.exchange.planned_bytes(m);
  }
}

void RowLookup::answer(const Group& group, const Member& member, const RoutedIds& routed, int64_t step) {
  const TablePart& part = *member.part;
  const RoutedPart& asked = routed.tables[part.table].parts[0];
  const auto world = static_cast<size_t>(comm_.size());
  for (int rank = 0; rank < comm_.size(); ++rank) {
    if (rank == comm_.rank() || asked.receive_rows[static_cast<size_t>(rank)] == 0) continue;
    const auto slots = slots_for(asked, rank, asked.receive_home[static_cast<size_t>(rank)]);
    at::Tensor values = group.exchange.outgoing(member.matrix, rank);
    part.store.gather(slots, values);
    const at::Tensor statistics = group.exchange.outgoing(member.matrix + 1, rank);
    if (DeviceRows* const device = part.store.device()) {
      device->tell_counts(slots, step - 1, statistics);
      continue;
    }
    if (statistics.size(0) > 0) send_statistics(part, slots, step, statistics);
    for (size_t f = 0; f * world < asked.asked_bags.size(); ++f) {
      if (!asked.asked_bags[f * world + static_cast<size_t>(rank)].defined()) continue;
      const at::Tensor out = group.exchange.outgoing(member.matrix + 2 + f, rank);
      const bool as_is = out.scalar_type() == group.type;
      const at::Tensor sums = as_is ? out : gathered_.take(out.numel(), group.type).view(out.sizes());
      partial_sum(part, asked, f, rank, sums);
      if (!as_is) copy_numbers(sums, out);
    }
  }
}

void RowLookup::send_statistics(const TablePart& part, std::span<const int64_t> slots, int64_t step,
                                const at::Tensor& out) {
  counts_.resize(slots.size());
  trained_.resize(slots.size());
  part.store.statistics(slots, step, counts_, trained_);
  auto* const to = static_cast<std::byte*>(out.data_ptr());
  const auto stride = static_cast<size_t>(out.size(1)) * out.element_size();
  for (size_t i = 0; i < slots.size(); ++i) {
    const float count = trained_[i] != 0 ? counts_[i] : kUntrainedCount;
    std::memcpy(to + i * stride, &count, sizeof(count));
  }
}

void RowLookup::take(const Group& group, const Member& member, const RoutedPart& routed, TableRows& rows) const {
  const TablePart& part = *member.part;
  for (int rank = 0; rank < comm_.size(); ++rank) {
    const int64_t first = part.first_home(routed, rank), count = routed.send_home[static_cast<size_t>(rank)];
    if (rank == comm_.rank() || count == 0) continue;
    const at::Tensor values = group.exchange.incoming(member.matrix, rank);
    if (part.holders == Holders::kColumns) {
      rows.values.narrow(0, first, count).narrow(1, part.first_column(rank), part.width()).copy_(values);
    } else if (staging_ != nullptr) {
      rows.values.narrow(0, first, count).copy_(values);
    } else {
      copy_numbers(values, rows.values.narrow(0, first, count));
    }
    const at::Tensor statistics = group.exchange.incoming(member.matrix + 1, rank);
    if (staging_ != nullptr) {
      take_counts(statistics.clone().view(at::kFloat), rows, first);  // a copy is where a float may be
      continue;
    }
    const auto* const in = static_cast<const std::byte*>(statistics.const_data_ptr());
    const auto stride = static_cast<size_t>(statistics.size(1)) * statistics.element_size();
    auto* const count_of = rows.counts.mutable_data_ptr<float>() + first;
    auto* const trained_of = rows.trained.mutable_data_ptr<bool>() + first;
    for (int64_t i = 0; i < statistics.size(0); ++i) {
      float travelled = 0.0F;
      std::memcpy(&travelled, in + static_cast<size_t>(i) * stride, sizeof(travelled));
      trained_of[i] = travelled >= 0.0F;
      count_of[i] = trained_of[i] ? travelled : 0.0F;
    }
  }
}

/// sums [bags, width] <- this rank's part of the bags of one feature of `rank`.
void RowLookup::partial_sum(const TablePart& part, const RoutedPart& routed, size_t feature, int rank,
                            const at::Tensor& sums) const {
  const auto r = static_cast<size_t>(rank);
  pool_slots(part.store, slots_for(routed, rank, routed.receive_rows[r]),
             routed.asked_bags[feature * static_cast<size_t>(comm_.size()) + r], sums);
}

/// The bags of one feature of this rank, added in rank order from what the holders summed.
at::Tensor RowLookup::join_sums(const Group& group, const Member& member, const RoutedPart& routed, size_t feature,
                                const at::Tensor& offsets) {
  const TablePart& part = *member.part;
  const int64_t count = offsets.size(0) - 1, width = part.width();
  at::Tensor bags = at::empty({count, part.spec().dim}, group.type);
  std::vector<uint8_t> begun(static_cast<size_t>(part.spec().dim / width));  // by columns
  for (int rank = 0; rank < comm_.size(); ++rank) {
    if (routed.send_attached[static_cast<size_t>(rank)] == 0) continue;
    const int64_t column = part.first_column(rank);
    const at::Tensor target = bags.narrow(1, column, width);
    const bool first = std::exchange(begun[static_cast<size_t>(column / width)], 1) == 0, own = rank == comm_.rank();
    if (own && first) {
      partial_sum(part, routed, feature, rank, target);
    } else if (own) {
      const at::Tensor sums = gathered_.take(count * width, group.type).view({count, width});
      partial_sum(part, routed, feature, rank, sums);
      target.add_(sums);
    } else {
      const at::Tensor sums = group.exchange.incoming(member.matrix + 2 + feature, rank);
      first ? target.copy_(sums) : target.add_(sums);
    }
  }
  for (size_t c = 0; c < begun.size(); ++c) {
    if (begun[c] == 0) bags.narrow(1, static_cast<int64_t>(c) * width, width).zero_();
  }
  return bags;
}

/// What this rank pools itself: all of it, or with partial sums the hot rows.
void RowLookup::join_bags(const RoutedIds& routed, std::span<const TableRows> rows, std::span<at::Tensor> bags) {
  for (size_t f = 0; f < routed.pooled.size(); ++f) {
    const RoutedFeature& feature = routed.pooled[f];
    const EmbeddingTable& table = tables_[feature.table];
    const BagList& here = feature.here;
    if (!table.parts[0].sums_partially()) {
      const at::Tensor& values = rows[feature.table].values;
      bags[f] = staging_ != nullptr ? sum_bags(*staging_, values, here)
                                    : sum_bags(values, here.positions, here.offsets, here.weights);
      continue;
    }
    if (here.defined()) {
      const TablePart& hot = table.parts[1];
      const RoutedPart& asked = routed.tables[feature.table].parts[1];
      const auto count = static_cast<int64_t>(asked.keys.size());
      at::Tensor values = gathered_.take(count * hot.width(), scalar_type(table.spec)).view({count, hot.width()});
      hot.store.gather(slots_for(asked, comm_.rank(), count), values);
      bags[f].add_(sum_bags(values, here.positions, here.offsets, here.weights));
    }
    if (feature.scale.defined()) bags[f].mul_(feature.scale);
  }
}

}  // namespace rondo
