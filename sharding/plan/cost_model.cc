#include "sharding/plan/cost_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr double kIdBytes = 12;  // key, and half a word of occurrences
constexpr double kWordBytes = 4;
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
      : spec(table.spec),
        world(setting.world),
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
        spreads_squares(takes_mean_squares(table.spec.optimizer)),
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

  const TableSpec& spec;
  double world;
  double rows;
  double scalar, dim;
  double values;                                                    // bytes of a row as it is computed with
  double memory, row_wire, gradient_wire, state, row_state, index;  // bytes of a row, or sum, as it is kept and travels
  double shared;                                                    // bytes of all tables on a rank
  bool spreads_squares;                                             // column_wise: rows have state as a whole
  bool learns;
  double ids, bags, distinct, global_distinct;
};

/// The parts of a cost that all placements are made of.
class Builder {
 public:
  Builder(const Shape& shape, const WayRates& rates) : shape_(shape), rates_(rates) {}

  /// A rank that holds `rows` rows of `share` of the columns.
  void hold(Load& load, double rows, double share = 1.0) {
    load.row_bytes += rows * shape_.memory * share;
    load.state_bytes += rows * shape_.state_of(share);
    load.index_bytes += rows * shape_.index;
    const double mine = rows * (shape_.memory * share + shape_.state_of(share) + shape_.index);
    memory_ = rates_.at(std::max(mine, shape_.shared));
  }

  void ask(Load& load) const {
    load.work[kRouting] += rates_.ask.seconds(shape_.ids, 0);
    load.buffer_bytes += kPlaceBytes * shape_.ids + kRouteBytes * shape_.distinct;
  }
  /// What comes home for distinct ids.
  void take_rows(Load& load) const { load.buffer_bytes += shape_.distinct * shape_.values * (shape_.learns ? 2 : 1); }
  /// `rows` of the ids are distinct and have gradients of their own.
  void pool(Load& load, double ids, double rows) const {
    const double bytes = ids * shape_.values;
    load.work[kPooling] += rates_.pool.seconds(ids, bytes) + learning(rates_.unpool.seconds(ids, bytes)) +
                           learning(rates_.leaf.seconds(rows, rows * shape_.values));
  }

  /// An owner hears of `asked` keys or ids, `distinct` of all ranks different, and finds their rows.
  void find(Load& load, double asked, double distinct) const {
    load.work[kFinding] += (shape_.world > 1 ? rates_.hear.seconds(asked, 0) : 0.0) + memory_.find.seconds(distinct, 0);
    load.buffer_bytes += kRouteBytes * asked;
  }
  void gather(Load& load, double rows, double share = 1.0) const {
    load.work[kGathering] += memory_.gather.seconds(rows, rows * shape_.memory * share);
  }
  /// Bags of `ids` ids of `rows` distinct rows; what their gradients say of the rows is added up later.
  void sum(Load& load, double ids, double rows, double share = 1.0) const {
    const double bytes = ids * shape_.values * share;
    load.work[kSumming] += memory_.gather.seconds(rows, rows * shape_.memory * share) + rates_.pool.seconds(ids, bytes);
    load.work[kUpdating] += learning(rates_.unpool.seconds(ids, bytes));
  }
  void update(Load& load, double distinct, double share = 1.0) const {
    if (shape_.world > 1) load.buffer_bytes += learning(distinct * shape_.values * share);
    load.work[kUpdating] +=
        learning(memory_.update.seconds(distinct, distinct * (shape_.memory * share + shape_.state_of(share))));
  }

  /// Rows or sums that cross: out of the owner, to the asker.
  void answer(Load& owner, double sent, Load& asker, double received, double share = 1.0) const {
    owner.work[kGathering] += half(rates_.answer, sent, share);
    asker.work[kTaking] += half(rates_.answer, received, share);
  }
  /// Gradients that cross, the other way.
  void merge(Load& asker, double sent, Load& owner, double received, double share = 1.0) const {
    asker.work[kTaking] += learning(half(rates_.merge, sent, share));
    owner.work[kUpdating] += learning(half(rates_.merge, received, share));
  }

  void send(Load& load, WireKind kind, double sent, double received) const {
    const bool gradients = kind == kGradients || kind == kSumGradients || kind == kSquares;
    if (gradients && !shape_.learns) return;
    load.wires[kind].sent += sent;
    load.wires[kind].received += received;
    load.buffer_bytes += sent + received;
  }
  void send(Load& load, const IdBytes& sent, const IdBytes& received) const {
    send(load, kIds, sent.keys, received.keys);
    send(load, kBagEntries, sent.entries, received.entries);
  }

 private:
  double learning(double cost) const { return shape_.learns ? cost : 0.0; }
  double half(const WorkRate& rate, double rows, double share) const {
    return rate.seconds(rows, rows * shape_.values * share) / 2;
  }

  const Shape& shape_;
  const WayRates& rates_;
  MemoryPoint memory_;
};

/// Rows that every rank holds: of all asked keys every rank hears, so that all make the same updates.
struct Copies {
  double rows = 0;             // on each rank
  double distinct = 0;         // that this rank asks for
  double global_distinct = 0;  // that all ask for
};

void add_copies(const Shape& s, const Builder& build, const Copies& copies, Load& load) {
  const double others = copies.distinct * (s.world - 1);
  const IdBytes ids = id_bytes(s.spec, WayHome::kRows, {0, others, 0, 0});
  build.send(load, ids, ids);
  build.find(load, copies.distinct * s.world, copies.global_distinct);
  build.gather(load, copies.distinct);
  build.send(load, kGradients, s.gradient_wire * others, s.gradient_wire * others);
  build.merge(load, others, load, others);
  build.update(load, copies.global_distinct);
}

TableCost replicated(const Shape& s, Builder build) {
  TableCost cost;
  build.hold(cost.every, s.rows);
  build.ask(cost.every);
  build.take_rows(cost.every);
  build.pool(cost.every, s.ids, s.distinct);
  add_copies(s, build, {s.rows, s.distinct, s.global_distinct}, cost.every);
  return cost;
}

/// `uneven`: rows of the fullest rank over the mean.
TableCost row_wise_rows(const Shape& s, Builder build, double uneven) {
  TableCost cost;
  Load& load = cost.every;
  const double leaving = s.distinct * s.away();
  build.hold(load, s.rows / s.world * uneven);
  build.ask(load);
  build.send(load, id_bytes(s.spec, WayHome::kRows, {0, leaving, 0, 0}),
             id_bytes(s.spec, WayHome::kRows, {0, leaving * uneven, 0, 0}));
  build.find(load, s.distinct * uneven, s.global_distinct / s.world * uneven);
  build.gather(load, s.distinct * uneven);
  build.send(load, kRows, (s.row_wire + s.scalar) * leaving * uneven, (s.row_wire + s.scalar) * leaving);
  build.answer(load, leaving * uneven, load, leaving);
  build.take_rows(load);
  build.pool(load, s.ids, s.distinct);
  build.send(load, kGradients, s.gradient_wire * leaving, s.gradient_wire * leaving * uneven);
  build.merge(load, leaving, load, leaving * uneven);
  build.update(load, s.global_distinct / s.world * uneven);
  return cost;
}

/// `hot`: the rows that every rank holds; `share` of the ids.
struct HotRows {
  Copies copies;
  double share = 0;
};

/// `uneven_rows`, `uneven_ids`: of the fullest and the busiest rank over the mean.
TableCost row_wise_sums(const Shape& s, Builder build, double uneven_rows, double uneven_ids, const HotRows& hot) {
  TableCost cost;
  Load& load = cost.every;
  const double cold = s.ids * (1 - hot.share), cold_distinct = s.distinct - hot.copies.distinct;
  const double others = s.world - 1, bags = s.bags * others, updated = s.global_distinct - hot.copies.global_distinct;
  build.hold(load, s.rows / s.world * uneven_rows + hot.copies.rows);
  build.ask(load);
  const auto ids = [&](double uneven) {
    return id_bytes(s.spec, WayHome::kSums,
                    {cold * s.away() * uneven, cold_distinct * s.away(), s.bags, others, hot.copies.rows > 0});
  };
  build.send(load, ids(1), ids(uneven_ids));
  build.find(load, cold * uneven_ids, updated / s.world * uneven_rows);
  build.sum(load, cold * uneven_ids, cold_distinct * uneven_rows);
  build.send(load, kSums, s.row_wire * bags, s.row_wire * bags);
  build.answer(load, bags, load, bags);
  build.send(load, kSumGradients, s.gradient_wire * bags, s.gradient_wire * bags);
  build.merge(load, bags, load, bags);
  build.update(load, updated / s.world * uneven_rows);
  if (hot.copies.rows == 0) return cost;
  build.pool(load, s.ids * hot.share, hot.copies.distinct);
  add_copies(s, build, hot.copies, load);
  return cost;
}

/// One owner, or several with a part of the columns each.
TableCost owned(const Shape& s, Builder build, WayHome way_home, int64_t parts) {
  TableCost cost;
  cost.owners = parts;
  const auto k = static_cast<double>(parts);
  const bool sums = way_home == WayHome::kSums;
  const double away = k * s.away(), others = s.world - 1;
  const double heard = sums ? s.ids : s.distinct, home = sums ? s.bags : s.distinct;  // of one asker
  build.hold(cost.owner, s.rows, 1 / k);
  build.ask(cost.every);
  build.send(cost.every, id_bytes(s.spec, way_home, {s.ids * away, s.distinct * away, s.bags, away}), {});
  build.send(cost.owner, {}, id_bytes(s.spec, way_home, {s.ids * others, s.distinct * others, s.bags, others}));
  build.find(cost.owner, heard * s.world, s.global_distinct);
  if (sums) {
    build.sum(cost.owner, s.ids * s.world, s.distinct * s.world, 1 / k);
  } else {
    build.gather(cost.owner, s.distinct * s.world, 1 / k);
    build.take_rows(cost.every);
    build.pool(cost.every, s.ids, s.distinct);
  }
  const double row = sums ? s.row_wire / k : (s.row_wire + s.scalar) / k, gradient = s.gradient_wire / k;
  build.send(cost.every, sums ? kSums : kRows, 0, row * home * away);
  build.send(cost.owner, sums ? kSums : kRows, row * home * others, 0);
  build.answer(cost.owner, home * others, cost.every, home * away, 1 / k);
  build.send(cost.every, sums ? kSumGradients : kGradients, gradient * home * away, 0);
  build.send(cost.owner, sums ? kSumGradients : kGradients, 0, gradient * home * others);
  build.merge(cost.every, home * away, cost.owner, home * others, 1 / k);
  const double squares = s.spreads_squares ? s.scalar * s.global_distinct * (k - 1) : 0.0;
  build.send(cost.owner, kSquares, squares, squares);
  build.update(cost.owner, s.global_distinct, 1 / k);
  return cost;
}

HotRows hot_rows(const TableRequest& table, const Shape& s, int64_t count) {
  if (count == 0) return {};
  const PowerLaw law(table.spec.rows, table.statistics.skew);
  const auto rows = static_cast<double>(count);
  return {{rows, std::min(s.distinct, law.distinct_of_first(rows, s.ids)),
           std::min(s.global_distinct, law.distinct_of_first(rows, s.ids * s.world))},
          law.share_of_first(rows)};
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
  for (size_t w = 0; w < to.work.size(); ++w) by(to.work[w], from.work[w]);
  for (const auto field : {&Load::row_bytes, &Load::state_bytes, &Load::index_bytes, &Load::buffer_bytes}) {
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

const char* to_text(WireKind kind) {
  static constexpr const char* kNames[kWireKinds] = {"ids",       "bag_entries",   "rows",   "bags",
                                                     "gradients", "bag_gradients", "squares"};
  return kNames[kind];
}

IdBytes id_bytes(const TableSpec& spec, WayHome way_home, const AskedIdCounts& asked) {
  const double keys = kIdBytes * asked.distinct;
  if (way_home == WayHome::kRows) return {.keys = keys};
  if (asked.beside_hot) return {keys, kWordBytes * (asked.ids + asked.owners * (asked.bags + 1))};
  constexpr int64_t kMostNarrow = int64_t{1} << 32;  // rows
  const bool narrow = spec.key_space == KeySpace::kDense && spec.rows <= kMostNarrow;
  return {.entries = kWordBytes * ((narrow ? 1 : 2) * asked.ids + asked.owners * (asked.bags + 2))};
}

double Load::work_seconds() const { return std::accumulate(work.begin(), work.end(), 0.0); }

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
  const bool sums = choice.way_home == WayHome::kSums;
  const Builder build(shape, sums ? setting.profile.sums : setting.profile.rows);
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
  if (!sums) return row_wise_rows(shape, build, uneven);
  const double ids = uneven * sum_imbalance(table, setting.world, choice.hot_rows);
  return row_wise_sums(shape, build, uneven, ids, hot_rows(table, shape, choice.hot_rows));
}

double StepParts::total() const {
  return fixed + route + ids + lookup + rows + pool + compute + gradients + update + dense + wait;
}

namespace {

enum Exchange : uint8_t { kIdExchange, kRowExchange, kGradientExchange, kSquareExchange };

/// Which exchange carries a kind.
constexpr Exchange kExchangeOf[kWireKinds] = {kIdExchange,       kIdExchange,       kRowExchange,   kRowExchange,
                                              kGradientExchange, kGradientExchange, kSquareExchange};

/// Bytes to and from others in each exchange.
std::array<double, 4> exchanged(const Load& load) {
  std::array<Wire, 4> wires;
  for (size_t w = 0; w < kWireKinds; ++w) {
    wires[kExchangeOf[w]].sent += load.wires[w].sent;
    wires[kExchangeOf[w]].received += load.wires[w].received;
  }
  std::array<double, 4> bytes{};
  for (size_t e = 0; e < bytes.size(); ++e) bytes[e] = std::max(wires[e].sent, wires[e].received);
  return bytes;
}

}  // namespace

StepClock::StepClock(const CostSetting& setting, const DenseWork& dense, int64_t tables, const Load& mean) {
  const HardwareProfile& profile = setting.profile;
  const auto near = [&](const CollectiveCost& cost, double bytes) {
    return bytes > 0.0 ? cost_near(cost, profile.ranks_per_node, setting.world, bytes) : LinearCost{};
  };
  const std::array<double, 4> bytes = exchanged(mean);
  for (size_t e = 0; e < bytes.size(); ++e) wires_[e] = near(profile.all_to_all, bytes[e]);
  const auto count = static_cast<double>(tables);
  const double counts = kCountBytes * count * (setting.world - 1);
  fixed_.fixed = profile.step_seconds + count * profile.table_seconds;
  if (setting.world > 1) fixed_.fixed += profile.peer_step_seconds + count * profile.peer_table_seconds;
  fixed_.ids = near(profile.all_to_all, counts).seconds(counts);
  fixed_.compute = profile.flops_per_second > 0.0 ? dense.flops / profile.flops_per_second : 0.0;
  fixed_.dense = near(profile.all_reduce, dense.gradient_bytes).seconds(dense.gradient_bytes);
  idle_ = seconds({});
}

StageSeconds StepClock::stages(const Load& load) const {
  const std::array<double, 4> bytes = exchanged(load);
  const auto wire = [&](Exchange e) { return wires_[e].seconds(bytes[e]); };
  const auto& work = load.work;
  return {work[kUpdating] + work[kRouting],
          wire(kIdExchange),
          work[kFinding] + work[kGathering] + work[kSumming],
          wire(kRowExchange),
          work[kTaking] + work[kPooling],
          wire(kGradientExchange),
          wire(kSquareExchange)};
}

double StepClock::step_seconds(const StageSeconds& slowest) const {
  return std::accumulate(slowest.begin(), slowest.end(), fixed_.total());
}

double StepClock::seconds(const Load& load) const { return step_seconds(stages(load)); }

StepParts StepClock::parts(const Load& load, double step_seconds) const {
  const std::array<double, 4> bytes = exchanged(load);
  const auto wire = [&](Exchange e) { return wires_[e].seconds(bytes[e]); };
  StepParts parts = fixed_;
  parts.route += load.work[kRouting] + load.work[kFinding];
  parts.ids += wire(kIdExchange);
  parts.lookup += load.work[kGathering] + load.work[kTaking];
  parts.rows += wire(kRowExchange);
  parts.pool += load.work[kSumming] + load.work[kPooling];
  parts.gradients += wire(kGradientExchange) + wire(kSquareExchange);
  parts.update += load.work[kUpdating];
  parts.wait = std::max(0.0, step_seconds - seconds(load));
  return parts;
}

void slow_down(StageSeconds& slowest, const StageSeconds& other) {
  for (size_t s = 0; s < kStages; ++s) slowest[s] = std::max(slowest[s], other[s]);
}

}  // namespace rondo
