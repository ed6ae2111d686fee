#include "sharding/embedding/work_calibration.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "sharding/comm/thread_communicator.h"
#include "sharding/embedding/pooling.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/plan/cost_model.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(1, 0, RandomPurpose::kSample);
constexpr int64_t kNarrow = 16, kWide = 128;
constexpr int64_t kRepeats = 8;  // of each id, where ids repeat
constexpr int64_t kPerBag = 16;
constexpr int64_t kFillIds = 262'144;
constexpr int64_t kTables = 4;  // that share what a step asks for, as in a job: each finds the caches used by others
constexpr int64_t kManyTables = 64;
constexpr double kRecordBytes = 36;  // of a row beside its values: state, count, version, index

int64_t rows_of(double table_bytes, int64_t dim) {
  return static_cast<int64_t>(table_bytes / (4.0 * static_cast<double>(dim) + kRecordBytes));
}

/// Seconds of the stages of a step.
enum Stage : size_t { kRoute, kLookup, kLearn, kLeaf, kStageCount };
using StageTimes = std::array<double, kStageCount>;

/// Of a training's step.
double total(const StageTimes& times) { return times[kRoute] + times[kLookup] + times[kLearn]; }

/// Tables alike, each asked for `ids` ids a step by each rank.
struct Shape {
  int64_t tables = 1;
  int64_t rows = 1;
  int64_t dim = kNarrow;
  int64_t ids = 1;
  WayHome way_home = WayHome::kRows;
};

/// Tables over the ranks of `comm`, timed beside what all ranks of the machine do.
class Workbench {
 public:
  Workbench(const Shape& shape, Communicator& comm, Communicator& machine)
      : shape_(shape), machine_(machine), embedding_(specs(shape), 1, comm) {
    const int64_t world = comm.size();
    for (int64_t first = shape.rows * comm.rank() / world, last = shape.rows * (comm.rank() + 1) / world, chunk = 0;
         chunk * kFillIds * world < shape.rows + kFillIds * world; ++chunk, first += kFillIds) {
      const int64_t count = std::clamp<int64_t>(last - first, 0, kFillIds);
      const std::vector<PooledFeature> none;
      embedding_.route(sequences(count, [&](int64_t i) { return first + i; }), LookupMode::kTrain, none);
    }
  }

  /// Each of `calls` steps with ids of its own, every distinct one `repeats` times: of each stage the fastest fifth on
  /// the slowest rank, so that what others do on the machine is hardly counted.
  StageTimes time(int64_t repeats, int calls) {
    std::array<std::vector<double>, kStageCount> times;
    step(repeats);
    for (int call = 0; call < calls; ++call) {
      const StageTimes one = step(repeats);
      for (size_t s = 0; s < kStageCount; ++s) times[s].push_back(one[s]);
    }
    StageTimes result;
    for (size_t s = 0; s < kStageCount; ++s) {
      std::ranges::sort(times[s]);
      const double fast = times[s][times[s].size() / 5];
      result[s] = static_cast<double>(largest_of(machine_, std::llround(fast * 1e9), "stage")) * 1e-9;
    }
    return result;
  }

 private:
  static std::vector<TableSpec> specs(const Shape& shape) {
    std::vector<TableSpec> specs;
    for (int64_t t = 0; t < shape.tables; ++t) {
      specs.push_back({.name = concat("calibration ", t), .dim = shape.dim, .rows = shape.rows});
      specs.back().way_home = shape.way_home;
    }
    return specs;
  }

  template <typename RowOf>
  static at::Tensor keys(int64_t count, const RowOf& row_of) {
    at::Tensor keys = at::empty({count}, at::kLong);
    auto* const out = reinterpret_cast<uint64_t*>(keys.mutable_data_ptr<int64_t>());
    for (int64_t i = 0; i < count; ++i) out[i] = mix64(static_cast<uint64_t>(row_of(i)) + 1);
    return keys;
  }

  template <typename RowOf>
  std::vector<TableIds> sequences(int64_t count, const RowOf& row_of) const {
    return {static_cast<size_t>(shape_.tables), TableIds{.keys = keys(count, row_of)}};
  }

  std::vector<PooledFeature> features(int64_t repeats) {
    const int64_t distinct = std::max<int64_t>(1, shape_.ids / repeats);
    const auto number = static_cast<uint64_t>(++step_) * static_cast<uint64_t>(machine_.size()) +
                        static_cast<uint64_t>(machine_.rank());
    std::vector<PooledFeature> features;
    for (int64_t t = 0; t < shape_.tables; ++t) {
      const at::Tensor ids = keys(shape_.ids, [&](int64_t i) {
        return static_cast<int64_t>(
            kRandom.below(static_cast<uint64_t>(shape_.rows), number, static_cast<uint64_t>(i % distinct)));
      });
      features.push_back({.name = "bags", .table = t, .keys = ids, .offsets = bag_offsets()});
    }
    return features;
  }

  at::Tensor bag_offsets() const {
    const int64_t bags = std::max<int64_t>(1, shape_.ids / kPerBag);
    at::Tensor offsets = at::empty({bags + 1}, at::kLong);
    for (int64_t b = 0; b <= bags; ++b) offsets.mutable_data_ptr<int64_t>()[b] = shape_.ids * b / bags;
    return offsets;
  }

  StageTimes step(int64_t repeats) {
    const std::vector<PooledFeature> asked = features(repeats);
    const std::vector<TableIds> none = sequences(0, [](int64_t) { return 0; });
    StageTimes times;
    times[kRoute] = timed([&] { embedding_.route(none, LookupMode::kTrain, asked, routed_); });
    EmbeddedBatch batch;
    times[kLookup] = timed([&] { batch = embedding_.lookup(routed_, step_); });
    for (at::Tensor& bags : batch.bags) bags.mutable_grad() = at::ones_like(bags);
    times[kLeaf] = timed([&] {
      for (size_t f = 0; f < batch.bags.size() && shape_.way_home == WayHome::kRows; ++f) {
        const BagList& here = routed_.pooled[f].here;
        bag_row_gradient(batch.bags[f].grad(), here.positions, here.offsets, here.weights, routed_.tables[f].distinct);
      }
    });
    times[kLearn] = timed([&] { embedding_.learn(routed_, batch, step_, 1.0); });
    return times;
  }

  template <typename Work>
  double timed(const Work& work) {
    if (machine_.size() > 1) machine_.barrier({Channel::kControl, "calibration"});
    const Stopwatch watch;
    work();
    return watch.seconds();
  }

  Shape shape_;
  Communicator& machine_;
  ShardedEmbedding embedding_;
  RoutedIds routed_;
  int64_t step_ = 0;
};

/// From what `items` narrow and as many wide rows took.
WorkRate rate_of(double narrow, double wide, double items) {
  const double narrow_bytes = 4.0 * kNarrow, wide_bytes = 4.0 * kWide;
  WorkRate rate;
  rate.byte_seconds = std::max(0.0, (wide - narrow) / (items * (wide_bytes - narrow_bytes)));
  rate.item_seconds = std::max(0.0, narrow / items - narrow_bytes * rate.byte_seconds);
  return rate;
}

/// What a step and each table in it cost that have next to nothing to do.
struct FixedTimes {
  StageTimes step{}, table{};

  /// What remains of `times` without them.
  StageTimes take_off(const StageTimes& times, int64_t tables) const {
    StageTimes rest;
    for (size_t s = 0; s < kStageCount; ++s) {
      rest[s] = std::max(0.0, times[s] - step[s] - static_cast<double>(tables) * table[s]);
    }
    return rest;
  }
};

/// Seconds of a stage as n * of_id + d * of_distinct, from n ids that all differ and n of which an eighth do.
struct TwoRates {
  TwoRates(const StageTimes& distinct, const StageTimes& repeated, Stage stage, double ids) {
    of_distinct = std::max(0.0, (distinct[stage] - repeated[stage]) / (ids * (1.0 - 1.0 / kRepeats)));
    of_id = std::max(0.0, distinct[stage] / ids - of_distinct);
  }

  double of_id, of_distinct;
};

class WorkCalibrator {
 public:
  WorkCalibrator(const WorkCalibration& options, Communicator& comm, HardwareProfile& profile)
      : options_(options),
        ids_(static_cast<double>(options.ids)),
        comm_(comm),
        alone_(make_single_communicator({})),
        profile_(profile) {}

  /// What steps and tables cost that have next to nothing to do. First of all.
  void measure_fixed() {
    alone_times_ = fixed(*alone_);
    profile_.step_seconds = total(alone_times_.step);
    profile_.table_seconds = total(alone_times_.table);
    if (comm_.size() == 1) return;
    all_times_ = fixed(comm_);
    constexpr double kExchanges = 4;  // counts, ids, rows, gradients
    profile_.peer_step_seconds = std::max(0.0, total(all_times_.step) - profile_.step_seconds - kExchanges * link(1));
    profile_.peer_table_seconds = std::max(0.0, total(all_times_.table) - profile_.table_seconds);
  }

  /// What needs no other rank.
  void measure_alone(WayHome way_home, WayRates& rates, double table_bytes) {
    struct Width {
      double find, ask, gather, pool, leaf, update, unpool;
    };
    const auto measure = [&](int64_t dim) -> Width {
      Workbench bench(shape(way_home, table_bytes, dim), *alone_, comm_);
      const StageTimes once = alone_times_.take_off(bench.time(1, options_.repeats), kTables);
      const StageTimes often = alone_times_.take_off(bench.time(kRepeats, options_.repeats), kTables);
      const TwoRates route(once, often, kRoute, ids_), lookup(once, often, kLookup, ids_),
          learn(once, often, kLearn, ids_), leaf(once, often, kLeaf, ids_);
      return {.find = route.of_distinct,
              .ask = route.of_id,
              .gather = lookup.of_distinct,
              .pool = lookup.of_id,
              .leaf = std::min(leaf.of_distinct, learn.of_distinct),
              .update = std::max(0.0, learn.of_distinct - leaf.of_distinct),
              .unpool = learn.of_id};
    };
    const Width narrow = measure(kNarrow), wide = measure(kWide);
    const auto rate = [&](double Width::* what) { return rate_of(narrow.*what, wide.*what, 1.0); };
    rates.ask = {std::midpoint(narrow.ask, wide.ask), 0.0};
    rates.pool = rate(&Width::pool);
    rates.unpool = rate(&Width::unpool);
    rates.leaf = way_home == WayHome::kRows ? rate(&Width::leaf) : WorkRate{};
    const WorkRate find{std::midpoint(narrow.find, wide.find), 0.0};
    rates.memory.push_back({table_bytes, find, rate(&Width::gather), rate(&Width::update)});
  }

  /// What it takes more that other ranks hold the rows, beside the links. Of tables row by row over all ranks, each
  /// with as much of them as in the middle of measure_alone.
  void measure_crossing(WayHome way_home, WayRates& rates) {
    const double bytes = rates.memory[rates.memory.size() / 2].table_bytes, world = comm_.size();
    const bool sums = way_home == WayHome::kSums;
    const int64_t repeats = sums ? kRepeats : 1;
    const double distinct = ids_ / static_cast<double>(repeats), away = (world - 1) / world;
    const double crossing = sums ? ids_ / kPerBag * (world - 1) : distinct * away;
    const auto measure = [&](int64_t dim) {
      Workbench bench(shape(way_home, bytes * world, dim), comm_, comm_);
      const StageTimes times = all_times_.take_off(bench.time(repeats, options_.repeats), kTables);
      const MemoryPoint memory = rates.at(bytes);
      const double width = 4.0 * static_cast<double>(dim);
      const auto of_ids = [&](const WorkRate& rate) { return rate.seconds(ids_, ids_ * width); };
      const auto of_rows = [&](const WorkRate& rate) { return rate.seconds(distinct, distinct * width); };
      const IdBytes told = id_bytes({}, way_home, {ids_ * away, distinct * away, ids_ / kPerBag, world - 1});
      StageTimes beyond{};
      beyond[kRoute] = times[kRoute] - of_ids(rates.ask) - of_rows(memory.find) - bytes_of(told.keys + told.entries);
      beyond[kLookup] = times[kLookup] - of_ids(rates.pool) - of_rows(memory.gather) - bytes_of(crossing * width);
      beyond[kLearn] = times[kLearn] - of_ids(rates.unpool) - of_rows(rates.leaf) - of_rows(memory.update) -
                       bytes_of(crossing * width);
      for (double& seconds : beyond) seconds = std::max(0.0, seconds);
      return beyond;
    };
    const StageTimes narrow = measure(kNarrow), wide = measure(kWide);
    rates.hear = {std::midpoint(narrow[kRoute], wide[kRoute]) / (sums ? ids_ : distinct), 0.0};
    rates.answer = rate_of(narrow[kLookup], wide[kLookup], crossing);
    rates.merge = rate_of(narrow[kLearn], wide[kLearn], crossing);
  }

 private:
  /// Tables that are `table_bytes` together and are asked for options_.ids ids.
  Shape shape(WayHome way_home, double table_bytes, int64_t dim) const {
    return {.tables = kTables,
            .rows = rows_of(table_bytes / kTables, dim),
            .dim = dim,
            .ids = options_.ids / kTables,
            .way_home = way_home};
  }

  double link(double bytes) const {
    return cost_near(profile_.all_to_all, profile_.ranks_per_node, comm_.size(), bytes).seconds(bytes);
  }
  /// Beyond a call, which is among the fixed times.
  double bytes_of(double bytes) const {
    return bytes * cost_near(profile_.all_to_all, profile_.ranks_per_node, comm_.size(), bytes).byte_seconds;
  }

  FixedTimes fixed(Communicator& comm) {
    const auto times = [&](int64_t tables) {
      return Workbench({.tables = tables, .rows = 64, .ids = 16}, comm, comm_).time(1, 4 * options_.repeats);
    };
    const StageTimes one = times(1), many = times(kManyTables);
    FixedTimes fixed;
    for (size_t s = 0; s < kStageCount; ++s) {
      fixed.table[s] = std::max(0.0, (many[s] - one[s]) / (kManyTables - 1));
      fixed.step[s] = std::max(0.0, one[s] - fixed.table[s]);
    }
    return fixed;
  }

  const WorkCalibration& options_;
  double ids_;
  Communicator& comm_;
  std::unique_ptr<Communicator> alone_;
  HardwareProfile& profile_;
  FixedTimes alone_times_, all_times_;
};

}  // namespace

void calibrate_work(const WorkCalibration& options, Communicator& comm, Progress& progress, HardwareProfile& profile) {
  WorkCalibrator calibrator(options, comm, profile);
  progress.begin("work", 2 * static_cast<int64_t>(options.table_bytes.size() + 1), "table sizes");
  int64_t done = 0;
  calibrator.measure_fixed();
  for (const WayHome way_home : {WayHome::kRows, WayHome::kSums}) {
    WayRates& rates = way_home == WayHome::kRows ? profile.rows : profile.sums;
    rates = {};
    for (const double bytes : options.table_bytes) {
      calibrator.measure_alone(way_home, rates, bytes);
      progress.advance(++done);
    }
    if (comm.size() > 1) calibrator.measure_crossing(way_home, rates);
    progress.advance(++done);
  }
  progress.end();
}

}  // namespace rondo
