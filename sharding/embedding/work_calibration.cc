#include "sharding/embedding/work_calibration.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "sharding/comm/thread_communicator.h"
#include "sharding/embedding/pooling.h"
#include "sharding/embedding/sharded_embedding.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(1, 0, RandomPurpose::kSample);
constexpr int64_t kNarrow = 16, kWide = 128;
constexpr int64_t kRepeats = 8;  // of each id, where ids repeat
constexpr int64_t kFillIds = 262'144;
constexpr double kRecordBytes = 36;  // of a row beside its values: state, count, version, index

int64_t rows_of(double table_bytes, int64_t dim) {
  return static_cast<int64_t>(table_bytes / (4.0 * static_cast<double>(dim) + kRecordBytes));
}

/// Seconds of the stages of a step.
struct StepSeconds {
  double route = 0;
  double forward = 0;
  double pool = 0;
  double update = 0;
};

/// Tables alike, each asked for `ids` ids a step, every distinct one `repeats` times.
struct Shape {
  int64_t tables = 1;
  int64_t rows = 1;
  int64_t dim = kNarrow;
  int64_t ids = 1;
  int64_t repeats = 1;
};

class Workbench {
 public:
  explicit Workbench(const Shape& shape)
      : shape_(shape), comm_(make_single_communicator({})), embedding_(specs(shape), 1, *comm_) {
    for (int64_t first = 0; first < shape.rows; first += kFillIds) {
      const int64_t count = std::min(kFillIds, shape.rows - first);
      embedding_.route(ids(count, [&](int64_t i) { return first + i; }), LookupMode::kTrain);
    }
  }

  /// The fastest of `calls` steps with ids of their own, stage by stage: what others on the machine do is not counted.
  StepSeconds time(int64_t repeats, int calls) {
    shape_.repeats = repeats;
    StepSeconds fastest = step();
    for (int call = 1; call < calls; ++call) {
      const StepSeconds seconds = step();
      for (const auto stage : {&StepSeconds::route, &StepSeconds::forward, &StepSeconds::pool, &StepSeconds::update}) {
        fastest.*stage = std::min(fastest.*stage, seconds.*stage);
      }
    }
    return fastest;
  }

 private:
  static std::vector<TableSpec> specs(const Shape& shape) {
    std::vector<TableSpec> specs;
    for (int64_t t = 0; t < shape.tables; ++t) {
      specs.push_back({.name = concat("calibration ", t), .dim = shape.dim, .rows = shape.rows});
    }
    return specs;
  }

  template <typename RowOf>
  std::vector<TableIds> ids(int64_t count, const RowOf& row_of) const {
    std::vector<TableIds> out;
    for (int64_t t = 0; t < shape_.tables; ++t) {
      out.push_back({.keys = at::empty({count}, at::kLong), .counted = 0});
      auto* const keys = reinterpret_cast<uint64_t*>(out.back().keys.mutable_data_ptr<int64_t>());
      for (int64_t i = 0; i < count; ++i) keys[i] = mix64(static_cast<uint64_t>(row_of(i)) + 1);
    }
    return out;
  }

  StepSeconds step() {
    const auto number = static_cast<uint64_t>(++step_);
    const int64_t distinct = shape_.ids / shape_.repeats;
    const std::vector<TableIds> asked = ids(shape_.ids, [&](int64_t i) {
      return static_cast<int64_t>(
          kRandom.below(static_cast<uint64_t>(shape_.rows), number, static_cast<uint64_t>(i % distinct)));
    });
    const at::Tensor offsets = bag_offsets();
    StepSeconds seconds;
    Stopwatch watch;
    const RoutedIds routed = embedding_.route(asked, LookupMode::kTrain);
    seconds.route = watch.restart();
    const std::vector<TableRows> rows = embedding_.forward(routed, step_);
    seconds.forward = watch.restart();
    std::vector<at::Tensor> sums, gradients;
    for (size_t t = 0; t < rows.size(); ++t) {
      sums.push_back(pool_rows(rows[t].values, routed.tables[t].positions, offsets, {}));
    }
    seconds.pool = watch.restart();
    for (const at::Tensor& sum : sums) gradients.push_back(at::ones_like(sum));
    watch.restart();
    torch::autograd::backward(sums, gradients);
    seconds.pool += watch.restart();
    embedding_.backward(routed, rows, step_, 1.0);
    seconds.update = watch.restart();
    return seconds;
  }

  /// Bags of 16 ids.
  at::Tensor bag_offsets() const {
    const int64_t bags = std::max<int64_t>(1, shape_.ids / 16);
    at::Tensor offsets = at::empty({bags + 1}, at::kLong);
    for (int64_t b = 0; b <= bags; ++b) offsets.mutable_data_ptr<int64_t>()[b] = shape_.ids * b / bags;
    return offsets;
  }

  Shape shape_;
  std::unique_ptr<Communicator> comm_;
  ShardedEmbedding embedding_;
  int64_t step_ = 0;
};

/// With all ids distinct, and with each of an eighth of them eight times.
std::pair<StepSeconds, StepSeconds> both_ways(const Shape& shape, int calls) {
  Workbench bench(shape);
  const StepSeconds distinct = bench.time(1, calls);
  return {distinct, bench.time(kRepeats, calls)};
}

/// From what `items` narrow and as many wide rows took.
WorkRate rate_of(double narrow, double wide, double items) {
  const double narrow_bytes = 4.0 * kNarrow, wide_bytes = 4.0 * kWide;
  WorkRate rate;
  rate.byte_seconds = std::max(0.0, (wide - narrow) / (items * (wide_bytes - narrow_bytes)));
  rate.item_seconds = std::max(0.0, narrow / items - narrow_bytes * rate.byte_seconds);
  return rate;
}

/// Rows added to others at random places, as gradients are; source and target are larger than a cache.
double seconds_of_adding(int64_t dim, int64_t rows, int calls) {
  std::vector<float> from(static_cast<size_t>(rows * dim), 1.0F), to(from.size(), 2.0F);
  double fastest = std::numeric_limits<double>::infinity();
  for (int call = 0; call < calls; ++call) {
    const Stopwatch watch;
    for (int64_t i = 0; i < rows; ++i) {
      const auto place = static_cast<int64_t>(kRandom.below(static_cast<uint64_t>(rows), 0, static_cast<uint64_t>(i)));
      for (int64_t c = 0; c < dim; ++c)
        to[static_cast<size_t>(place * dim + c)] += from[static_cast<size_t>(i * dim + c)];
    }
    fastest = std::min(fastest, watch.seconds());
  }
  return fastest;
}

}  // namespace

void calibrate_work(const WorkCalibration& options, Progress& progress, HardwareProfile& profile) {
  progress.begin("work", static_cast<int64_t>(options.table_bytes.size()) + 1, "table sizes");
  const auto ids = static_cast<double>(options.ids);
  profile.memory.clear();
  for (const double bytes : options.table_bytes) {
    const auto [narrow, narrow_repeated] =
        both_ways({.rows = rows_of(bytes, kNarrow), .dim = kNarrow, .ids = options.ids}, options.repeats);
    const auto [wide, wide_repeated] =
        both_ways({.rows = rows_of(bytes, kWide), .dim = kWide, .ids = options.ids}, options.repeats);
    // Of n ids: n * r + d * f, once with d = n distinct ones and once with d = n / kRepeats.
    const double fewer = ids * (1.0 - 1.0 / kRepeats);
    const double find = std::max(0.0, (narrow.route - narrow_repeated.route) / fewer);
    profile.route = {std::max(1e-10, narrow.route / ids - find), 0.0};
    profile.leaf = rate_of(std::max(0.0, narrow.pool - narrow_repeated.pool),
                           std::max(0.0, wide.pool - wide_repeated.pool), fewer);
    const auto less_leaf = [&](double seconds, int64_t dim) {
      return std::max(0.0,
                      seconds - profile.leaf.seconds(ids / kRepeats, ids / kRepeats * 4.0 * static_cast<double>(dim)));
    };
    profile.pool = rate_of(less_leaf(narrow_repeated.pool, kNarrow), less_leaf(wide_repeated.pool, kWide), ids);
    profile.memory.push_back(
        {bytes, {find, 0.0}, rate_of(narrow.forward, wide.forward, ids), rate_of(narrow.update, wide.update, ids)});
    progress.advance(static_cast<int64_t>(profile.memory.size()));
  }
  profile.copy = rate_of(seconds_of_adding(kNarrow, options.ids, options.repeats),
                         seconds_of_adding(kWide, options.ids, options.repeats), ids);
  const auto total = [](const StepSeconds& s) { return s.route + s.forward + s.pool + s.update; };
  constexpr int64_t kMany = 64;
  const double one = total(Workbench({.tables = 1, .rows = 64, .ids = 16}).time(1, 4 * options.repeats));
  const double many = total(Workbench({.tables = kMany, .rows = 64, .ids = 16}).time(1, 4 * options.repeats));
  profile.table_seconds = std::max(0.0, (many - one) / (kMany - 1));
  profile.step_seconds = std::max(0.0, one - profile.table_seconds);
  progress.end();
}

}  // namespace rondo
