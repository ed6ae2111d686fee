#include "sharding/plan/cost_model.h"

#include <algorithm>
#include <cmath>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr double kIdBytes = 12;      // key, and half a word of occurrences
constexpr double kCountBytes = 8;    // rows of one table for one rank
constexpr double kHashedBytes = 24;  // index cells of 12 bytes, filled to a half on average
constexpr double kDenseBytes = 1.0 / 8;
constexpr double kPlaceBytes = 8;   // of an id: its place among the distinct ones
constexpr double kRouteBytes = 24;  // of a distinct id: key, slot, occurrences

/// Of what rows are computed with, sums and optimizer state.
double scalar_bytes(RowType type) { return type == RowType::kFloat64 ? 8 : 4; }

double wire_bytes(WireCodec codec, double without) { return codec == WireCodec::kNone ? without : 2; }

/// Ids, distinct ids and bags of one table, and the sizes of its rows.
struct Shape {
  Shape(const TableRequest& table, const DistinctIdCounts& counts, const CostSetting& setting)
      : world(setting.world),
        rows(static_cast<double>(table.spec.rows)),
        scalar(scalar_bytes(table.spec.row_type)),
        dim(static_cast<double>(table.spec.dim)),
        values(dim * scalar),
        memory(dim * static_cast<double>(bytes_of(table.spec.row_type))),
        row_wire(dim * wire_bytes(table.spec.row_codec, static_cast<double>(bytes_of(table.spec.row_type)))),
        gradient_wire(dim * wire_bytes(table.spec.gradient_codec, scalar)),
        state(static_cast<double>(state_width(table.spec.optimizer.kind, table.spec.dim)) * scalar),
        row_state(static_cast<double>(state_shape(table.spec.optimizer.kind).per_row) * scalar),
        shared(setting.shared_table_bytes),
        learns(table.spec.optimizer.kind != RowOptimizerKind::kNone),
        ids(setting.rank_batch * table.statistics.ids_per_example),
        bags(setting.rank_batch * table.statistics.bags_per_example),
        distinct(counts.of_rank),
        global_distinct(counts.of_all) {
    const double metadata = 8 + std::ceil((memory + state + 4) / 8) * 8 - memory - state;  // version, count, padding
    index = metadata + (table.spec.key_space == KeySpace::kDense ? kDenseBytes : kHashedBytes);
  }

  double away() const { return (world - 1) / world; }  // share of what does not stay on the rank
  /// State of a part of the columns; what belongs to the row as a whole is kept with each part.
  double state_of(double share) const { return (state - row_state) * share + row_state; }

  double world;
  double rows;
  double scalar, dim;
  double values;                                                    // bytes of a row as it is computed with
  double memory, row_wire, gradient_wire, state, row_state, index;  // bytes of a row as it is kept and as it travels
  double shared;                                                    // bytes of all tables on a rank
  bool learns;
  double ids, bags, distinct, global_distinct;
};

/// The parts of a cost that all placements are made of.
class Builder {
 public:
  Builder(const Shape& shape, const HardwareProfile& profile) : shape_(shape), profile_(profile) {}

  /// A rank that holds `rows` rows of `share` of the columns.
  void hold(Load& load, double rows, double share = 1.0) {
    load.row_bytes += rows * shape_.memory * share;
    load.state_bytes += rows * shape_.state_of(share);
    load.index_bytes += rows * shape_.index;
    const double mine = rows * (shape_.memory * share + shape_.state_of(share) + shape_.index);
    memory_ = profile_.at(std::max(mine, shape_.shared));
  }

  /// The asker routes its ids; what comes home for them is one row a distinct id.
  void ask(Load& load) const {
    load.route_seconds += profile_.route.seconds(shape_.ids, 0);
    load.buffer_bytes += kPlaceBytes * shape_.ids + kRouteBytes * shape_.distinct;
  }
  void take_rows(Load& load, double from_others) const {
    load.lookup_seconds += profile_.copy.seconds(from_others, from_others * shape_.values);
    load.update_seconds += learning(profile_.copy.seconds(from_others, from_others * shape_.values));
    load.buffer_bytes += shape_.distinct * shape_.values * (shape_.learns ? 2 : 1);
  }
  /// `rows` distinct ones have gradients of their own.
  void pool(Load& load, double ids, double rows, double share = 1.0) const {
    load.pool_seconds += learning(profile_.leaf.seconds(rows, rows * shape_.values * share));
    load.pool_seconds += profile_.pool.seconds(ids, ids * shape_.values * share);
  }

  /// An owner hears of `asked` keys, `distinct` of them different, and finds their rows.
  void find(Load& load, double asked, double distinct) const {
    const bool several = shape_.world > 1;
    load.route_seconds += (several ? profile_.route.seconds(asked, 0) : 0.0) + memory_.find.seconds(distinct, 0);
    load.buffer_bytes += kRouteBytes * asked;
  }
  void gather(Load& load, double rows, double share = 1.0) const {
    load.lookup_seconds += memory_.gather.seconds(rows, rows * shape_.memory * share);
  }
  /// `gradients` rows come from all ranks for `distinct` rows of the store.
  void update(Load& load, double gradients, double distinct, double share = 1.0) const {
    const double width = shape_.values * share;
    if (shape_.world > 1) {
      load.update_seconds += learning(profile_.copy.seconds(gradients, gradients * width));
      load.buffer_bytes += learning(distinct * width);
    }
    load.update_seconds +=
        learning(memory_.update.seconds(distinct, distinct * (shape_.memory * share + shape_.state_of(share))));
  }

  void send(Load& load, WireKind kind, double sent, double received) const {
    const bool gradients = kind == kGradients || kind == kSumGradients;
    if (gradients && !shape_.learns) return;
    load.wires[kind].sent += sent;
    load.wires[kind].received += received;
    load.buffer_bytes += sent + received;
  }

 private:
  double learning(double cost) const { return shape_.learns ? cost : 0.0; }

  const Shape& shape_;
  const HardwareProfile& profile_;
  MemoryPoint memory_;
};

TableCost replicated(const Shape& s, Builder build) {
  TableCost cost;
  const double others = s.world - 1;
  build.hold(cost.every, s.rows);
  build.ask(cost.every);
  build.send(cost.every, kIds, kIdBytes * s.distinct * others, kIdBytes * s.distinct * others);
  build.find(cost.every, s.distinct * s.world, s.global_distinct);
  build.gather(cost.every, s.distinct);
  build.take_rows(cost.every, 0);
  build.pool(cost.every, s.ids, s.distinct);
  build.send(cost.every, kGradients, s.gradient_wire * s.distinct * others, s.gradient_wire * s.distinct * others);
  build.update(cost.every, s.distinct * s.world, s.global_distinct);
  return cost;
}

/// `uneven`: rows of the fullest rank over the mean.
TableCost row_wise_rows(const Shape& s, Builder build, double uneven) {
  TableCost cost;
  const double leaving = s.distinct * s.away();
  build.hold(cost.every, s.rows / s.world * uneven);
  build.ask(cost.every);
  build.send(cost.every, kIds, kIdBytes * leaving, kIdBytes * leaving * uneven);
  build.find(cost.every, s.distinct * uneven, s.global_distinct / s.world * uneven);
  build.gather(cost.every, s.distinct * uneven);
  build.send(cost.every, kRows, (s.row_wire + s.scalar) * leaving * uneven, (s.row_wire + s.scalar) * leaving);
  build.take_rows(cost.every, leaving);
  build.pool(cost.every, s.ids, s.distinct);
  build.send(cost.every, kGradients, s.gradient_wire * leaving, s.gradient_wire * leaving * uneven);
  build.update(cost.every, s.distinct * uneven, s.global_distinct / s.world * uneven);
  return cost;
}

/// `hot`: share of the ids whose rows every rank holds; `hot_rows` of them.
struct HotRows {
  double rows = 0;
  double share = 0;
};

/// `uneven_rows`, `uneven_ids`: of the fullest and the busiest rank over the mean.
TableCost row_wise_sums(const Shape& s, Builder build, double uneven_rows, double uneven_ids, const HotRows& hot) {
  TableCost cost;
  const double cold = s.ids * (1 - hot.share), sums = s.values * s.bags * (s.world - 1);
  build.hold(cost.every, s.rows / s.world * uneven_rows + hot.rows);
  build.ask(cost.every);
  build.send(cost.every, kIds, kIdBytes * cold * s.away(), kIdBytes * cold * s.away() * uneven_ids);
  build.find(cost.every, cold * uneven_ids, s.global_distinct / s.world * uneven_rows);
  build.pool(cost.every, cold * uneven_ids + s.ids * hot.share, 0);
  build.send(cost.every, kSums, sums, sums);
  build.send(cost.every, kSumGradients, sums, sums);
  build.send(cost.every, kGradients, s.gradient_wire * hot.rows * s.away(), s.gradient_wire * hot.rows * s.away());
  build.update(cost.every, hot.rows, s.global_distinct / s.world * uneven_rows);
  return cost;
}

/// One owner, or several with a part of the columns each.
TableCost owned(const Shape& s, Builder build, WayHome way_home, int64_t parts) {
  TableCost cost;
  cost.owners = parts;
  const auto k = static_cast<double>(parts);
  const bool sums = way_home == WayHome::kSums;
  const double asked = sums ? s.ids : s.distinct, others = s.world - 1;
  build.hold(cost.owner, s.rows, 1 / k);
  build.ask(cost.every);
  build.send(cost.every, kIds, kIdBytes * asked * k * s.away(), 0);
  build.send(cost.owner, kIds, 0, kIdBytes * asked * others);
  build.find(cost.owner, asked * s.world, s.global_distinct);
  if (sums) {
    build.pool(cost.owner, s.ids * s.world, 0, 1 / k);
    build.send(cost.every, kSums, 0, s.values * s.bags * s.away());
    build.send(cost.owner, kSums, s.values / k * s.bags * others, 0);
    build.send(cost.every, kSumGradients, s.values * s.bags * s.away(), 0);
    build.send(cost.owner, kSumGradients, 0, s.values / k * s.bags * others);
    build.update(cost.owner, 0, s.global_distinct, 1 / k);
    return cost;
  }
  const double row = s.row_wire / k + s.scalar;
  build.gather(cost.owner, s.distinct * s.world, 1 / k);
  build.send(cost.every, kRows, 0, row * k * s.distinct * s.away());
  build.send(cost.owner, kRows, row * s.distinct * others, 0);
  build.take_rows(cost.every, s.distinct * s.away());
  build.pool(cost.every, s.ids, s.distinct);
  build.send(cost.every, kGradients, s.gradient_wire * s.distinct * s.away(), 0);
  build.send(cost.owner, kGradients, 0, s.gradient_wire / k * s.distinct * others);
  build.update(cost.owner, s.distinct * s.world, s.global_distinct, 1 / k);
  return cost;
}

/// Buckets of the rank that has most of them, over the mean.
double bucket_imbalance(int64_t buckets, int world) {
  return static_cast<double>((buckets + world - 1) / world) * world / static_cast<double>(buckets);
}

template <typename Combine>
void combine(Load& to, const Load& from, const Combine& by) {
  for (size_t w = 0; w < to.wires.size(); ++w) {
    by(to.wires[w].sent, from.wires[w].sent);
    by(to.wires[w].received, from.wires[w].received);
  }
  for (const auto field : {&Load::route_seconds, &Load::lookup_seconds, &Load::pool_seconds, &Load::update_seconds,
                           &Load::row_bytes, &Load::state_bytes, &Load::index_bytes, &Load::buffer_bytes}) {
    by(to.*field, from.*field);
  }
}

}  // namespace

std::string to_text(const TableChoice& choice) {
  std::string text = to_word(choice.placement);
  if (choice.placement == Placement::kColumnWise) text += concat(" in ", choice.column_parts);
  if (choice.way_home == WayHome::kSums) text += ", sums home";
  if (choice.hot_rows > 0) text += concat(", ", choice.hot_rows, " hot rows");
  return text;
}

Load& Load::operator+=(const Load& other) {
  combine(*this, other, [](double& to, double from) { to += from; });
  return *this;
}

Load& Load::operator-=(const Load& other) {
  combine(*this, other, [](double& to, double from) { to -= from; });
  return *this;
}

Load Load::scaled(double factor) const {
  Load out;
  combine(out, *this, [factor](double& to, double from) { to = from * factor; });
  return out;
}

double table_bytes(const TableRequest& table) {
  static const HardwareProfile kNone;
  const Shape shape(table, {}, {kNone, 1, 0.0, 0.0});
  return shape.rows * (shape.memory + shape.state + shape.index);
}

double sum_imbalance(const TableRequest& table, int world, int64_t hot_rows) {
  if (table.spec.rows <= hot_rows) return 1.0;
  const PowerLaw law(table.spec.rows, table.statistics.skew);
  const auto hot = static_cast<double>(hot_rows);
  const double hottest = law.share_of_first(hot + 1) - law.share_of_first(hot);
  return 1.0 + (world - 1) * hottest;
}

DistinctIdCounts distinct_ids(const TableRequest& table, const CostSetting& setting) {
  const double ids = setting.rank_batch * table.statistics.ids_per_example;
  return {expected_distinct(table.statistics, table.spec.rows, ids),
          expected_distinct(table.statistics, table.spec.rows, ids * setting.world)};
}

TableCost cost_of(const TableRequest& table, const TableChoice& choice, const CostSetting& setting) {
  return cost_of(table, distinct_ids(table, setting), choice, setting);
}

TableCost cost_of(const TableRequest& table, const DistinctIdCounts& distinct, const TableChoice& choice,
                  const CostSetting& setting) {
  RONDO_CHECK(table.spec.rows > 0 && setting.world >= 1, "table ", table.spec.name);
  const Shape shape(table, distinct, setting);
  const Builder build(shape, setting.profile);
  switch (choice.placement) {
    case Placement::kReplicated:
      return replicated(shape, build);
    case Placement::kTableWise:
      return owned(shape, build, choice.way_home, 1);
    case Placement::kColumnWise:
      return owned(shape, build, choice.way_home, choice.column_parts);
    case Placement::kRowWise:
      break;
  }
  const double uneven = bucket_imbalance(table.spec.buckets, setting.world);
  if (choice.way_home == WayHome::kRows) return row_wise_rows(shape, build, uneven);
  const auto hot_rows = static_cast<double>(choice.hot_rows);
  const PowerLaw law(table.spec.rows, table.statistics.skew);
  return row_wise_sums(shape, build, uneven, uneven * sum_imbalance(table, setting.world, choice.hot_rows),
                       {hot_rows, law.share_of_first(hot_rows)});
}

double StepParts::total() const {
  return fixed + route + ids + lookup + rows + pool + compute + gradients + update + dense;
}

StepClock::StepClock(const CostSetting& setting, const DenseWork& dense, int64_t tables, const Load& mean) {
  const HardwareProfile& profile = setting.profile;
  const auto near = [&](const CollectiveCost& cost, double bytes) {
    return bytes > 0.0 ? cost_near(cost, profile.ranks_per_node, setting.world, bytes) : LinearCost{};
  };
  const CollectiveCost* const costs[kWireKinds] = {&profile.all_to_all, &profile.all_to_all, &profile.all_to_all,
                                                   &profile.reduce_scatter, &profile.all_gather};
  for (size_t w = 0; w < kWireKinds; ++w) {
    wires_[w] = near(*costs[w], std::max(mean.wires[w].sent, mean.wires[w].received));
  }
  const double counts = kCountBytes * static_cast<double>(tables) * (setting.world - 1);
  fixed_.fixed = profile.step_seconds + static_cast<double>(tables) * profile.table_seconds;
  fixed_.ids = near(profile.all_to_all, counts).seconds(counts);
  fixed_.compute = profile.flops_per_second > 0.0 ? dense.flops / profile.flops_per_second : 0.0;
  fixed_.dense = near(profile.all_reduce, dense.gradient_bytes).seconds(dense.gradient_bytes);
  idle_ = seconds({});
}

StepParts StepClock::parts(const Load& load) const {
  const auto wire = [&](WireKind kind) {
    return wires_[kind].seconds(std::max(load.wires[kind].sent, load.wires[kind].received));
  };
  StepParts parts = fixed_;
  parts.route += load.route_seconds;
  parts.ids += wire(kIds);
  parts.lookup += load.lookup_seconds;
  parts.rows += wire(kRows) + wire(kSums);
  parts.pool += load.pool_seconds;
  parts.gradients += wire(kGradients) + wire(kSumGradients);
  parts.update += load.update_seconds;
  return parts;
}

double StepClock::seconds(const Load& load) const {
  double total = fixed_.total() + load.work_seconds();
  for (size_t w = 0; w < kWireKinds; ++w) {
    total += wires_[w].seconds(std::max(load.wires[w].sent, load.wires[w].received));
  }
  return total;
}

}  // namespace rondo
