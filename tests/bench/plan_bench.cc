// A plan against reality: random jobs, each planned and then run, predicted against measured step time and bytes.
//
//   mpirun -n 2 plan_bench --parts     two ranks; calibrates first, on the ranks and threads that it then runs on
//   plan_bench                         a world of one
//
// A job: a few tables, each with its own rows, width, ids, skew, and a placement and way home that are drawn or left to
// the planner; all rows are made first. A step is that of exchange_bench: ids routed, bags back, gradients to the
// owners, rows updated. The fastest fifth of the steps counts, as in calibration, on the slowest rank.

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/base/progress.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/embedding/link_calibration.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/embedding/work_calibration.h"
#include "sharding/handle/mpi_session.h"
#include "sharding/plan/planner.h"
#include "tests/bench/id_stream.h"

namespace rondo::bench {
namespace {

constexpr int64_t kBatches = 8;
constexpr int64_t kFillIds = 131'072;
constexpr int64_t kPopular = 4096;

struct Options {
  int64_t first = 0;
  int64_t jobs = 10;
  int64_t steps = 100;
  uint64_t seed = 1;
  bool parts = false;
};

/// One table of a job: how it is asked, and what the planner is told of that.
struct JobTable {
  IdStreamOptions ids;
  TableRequest request;
};

struct BenchJob {
  int64_t rank_batch = 0;
  std::vector<JobTable> tables;
};

/// Half of the tables are the planner's to place.
void draw_placement(const CounterRandom& random, uint64_t table, int world, TableRequest& request) {
  constexpr std::array kPlacements{Placement::kRowWise, Placement::kTableWise, Placement::kColumnWise,
                                   Placement::kReplicated};
  if (random.below(2, table, 4) == 0) return;
  Placement placement = kPlacements[random.below(kPlacements.size(), table, 5)];
  if (placement == Placement::kColumnWise && (world == 1 || request.spec.dim / world < 16)) {
    placement = Placement::kTableWise;
  }
  request.allowed = {placement};
  if (placement != Placement::kReplicated) {
    request.way_home = random.below(2, table, 6) == 0 ? WayHome::kRows : WayHome::kSums;
  }
}

BenchJob random_job(uint64_t seed, uint64_t number, int world) {
  const CounterRandom random(seed, number, RandomPurpose::kTest);
  const auto pick = [&](std::initializer_list<int64_t> values, uint64_t key, uint64_t element) {
    return values.begin()[random.below(values.size(), key, element)];
  };
  BenchJob job;
  job.rank_batch = pick({128, 256, 512, 1024}, 0, 0);
  const auto tables = pick({1, 2, 3, 4, 6, 8}, 0, 1);
  for (uint64_t t = 1; t <= static_cast<uint64_t>(tables); ++t) {
    JobTable table;
    table.ids = {.seed = seed + number,
                 .rows = static_cast<int64_t>(std::exp(std::log(1e4) + random.uniform(t, 0) * std::log(30.0))),
                 .tables = tables,
                 .batch = job.rank_batch,
                 .pooling = pick({1, 2, 5, 10, 20}, t, 1),
                 .alpha = 1.2 * random.uniform(t, 2),
                 .scatter = false};
    TableRequest& request = table.request;
    request.spec.name = concat("job ", number, " table ", t);
    request.spec.rows = table.ids.rows;
    request.spec.dim = pick({16, 32, 64, 128}, t, 3);
    request.statistics = {static_cast<double>(table.ids.pooling), 1.0, table.ids.alpha, {}};
    request.pooled = true;
    request.popular_keys.resize(static_cast<size_t>(std::min(kPopular, table.ids.rows)));
    std::iota(request.popular_keys.begin(), request.popular_keys.end(), 0);
    draw_placement(random, t, world, request);
    job.tables.push_back(std::move(table));
  }
  return job;
}

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::ranges::copy(values, tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Times of a step, in seconds.
enum Timed : size_t { kRoute, kLookup, kLearn, kStep, kCpu, kTimes };
constexpr std::array<const char*, kTimes> kTimedNames{"route", "lookup", "learn", "step", "cpu"};
using StepTimes = std::array<double, kTimes>;

using WireBytes = std::array<double, kWireKinds>;

WireBytes bytes_of(const ShardedEmbedding::Traffic& traffic) {
  WireBytes bytes{};
  bytes[kIds] = static_cast<double>(traffic.id_bytes);
  bytes[kBagEntries] = static_cast<double>(traffic.bag_entry_bytes);
  bytes[kRows] = static_cast<double>(traffic.row_bytes);
  bytes[kSums] = static_cast<double>(traffic.bag_bytes);
  bytes[kGradients] = static_cast<double>(traffic.gradient_bytes);
  bytes[kSumGradients] = static_cast<double>(traffic.bag_gradient_bytes);
  bytes[kSquares] = static_cast<double>(traffic.square_bytes);
  return bytes;
}

class RunningJob {
 public:
  RunningJob(const BenchJob& job, std::vector<TableSpec> specs, Communicator& comm)
      : job_(job), comm_(comm), embedding_(std::move(specs), 1, comm) {
    make_rows();
    for (int64_t b = 0; b < kBatches; ++b) {
      std::vector<PooledFeature> features;
      for (size_t t = 0; t < job.tables.size(); ++t) {
        const StreamPlace place{b, comm.rank(), static_cast<int64_t>(t)};
        const IdStream stream(job.tables[t].ids);
        const std::vector<int64_t> offsets = stream.offsets(place);
        features.push_back({.name = "bags",
                            .table = static_cast<int64_t>(t),
                            .keys = to_tensor(stream.ids(place, offsets.back())),
                            .offsets = to_tensor(offsets)});
      }
      batches_.push_back(std::move(features));
    }
  }

  /// Of each time the fastest fifth, on the slowest rank.
  StepTimes run(int64_t steps) {
    for (size_t b = 0; b < batches_.size(); ++b) step(batches_[b]);
    const WireBytes before = bytes_of(embedding_.traffic());
    std::array<std::vector<double>, kTimes> times;
    for (int64_t i = 0; i < steps; ++i) {
      const StepTimes one = step(batches_[static_cast<size_t>(i % kBatches)]);
      for (size_t s = 0; s < kTimes; ++s) times[s].push_back(one[s]);
    }
    const WireBytes after = bytes_of(embedding_.traffic());
    for (size_t w = 0; w < kWireKinds; ++w) {
      const auto sent = static_cast<int64_t>(after[w] - before[w]);
      bytes_[w] = static_cast<double>(sum_of(comm_, sent, "bytes")) / static_cast<double>(steps);
    }
    StepTimes result{};
    for (size_t s = 0; s < kTimes; ++s) {
      std::ranges::sort(times[s]);
      const double fast = times[s][times[s].size() / 5];
      result[s] = static_cast<double>(largest_of(comm_, std::llround(fast * 1e9), "time")) * 1e-9;
    }
    return result;
  }

  /// A step, of all ranks.
  const WireBytes& bytes() const { return bytes_; }

 private:
  std::vector<TableIds> no_sequences() const {
    return {job_.tables.size(), TableIds{.keys = at::empty({0}, at::kLong)}};
  }

  void make_rows() {
    int64_t rows = 0;
    for (const JobTable& table : job_.tables) rows = std::max(rows, table.ids.rows);
    for (int64_t first = 0; first < rows; first += kFillIds) {
      std::vector<TableIds> ids;
      for (const JobTable& table : job_.tables) {
        std::vector<int64_t> keys;
        for (int64_t k = first; k < std::min(first + kFillIds, table.ids.rows); ++k) keys.push_back(k);
        ids.push_back({.keys = to_tensor(keys)});
      }
      embedding_.route(ids, LookupMode::kTrain);
    }
  }

  StepTimes step(const std::vector<PooledFeature>& features) {
    const std::vector<TableIds> none = no_sequences();
    if (comm_.size() > 1) comm_.barrier({Channel::kControl, "step"});
    StepTimes times{};
    const double cpu_before = cpu_seconds();
    Stopwatch watch;
    embedding_.route(none, LookupMode::kTrain, features, routed_);
    times[kRoute] = watch.restart();
    EmbeddedBatch batch = embedding_.lookup(routed_, ++step_);
    times[kLookup] = watch.restart();
    for (at::Tensor& bags : batch.bags) bags.mutable_grad() = at::ones_like(bags);
    watch.restart();
    embedding_.learn(routed_, batch, step_, 1.0);
    times[kLearn] = watch.restart();
    times[kStep] = times[kRoute] + times[kLookup] + times[kLearn];
    times[kCpu] = cpu_seconds() - cpu_before;
    return times;
  }

  const BenchJob& job_;
  Communicator& comm_;
  ShardedEmbedding embedding_;
  std::vector<std::vector<PooledFeature>> batches_;
  RoutedIds routed_;
  int64_t step_ = 0;
  WireBytes bytes_{};
};

PlanRequest request_of(const BenchJob& job, const HardwareProfile& profile, int world) {
  PlanRequest request;
  request.world = world;
  request.global_batch = job.rank_batch * world;
  request.profile = profile;
  for (const JobTable& table : job.tables) request.tables.push_back(table.request);
  return request;
}

/// What the plan says of the times that are taken.
StepTimes predicted_times(const Plan& plan) {
  const RankPlan& rank = plan.ranks[static_cast<size_t>(plan.slowest)];
  const StepParts& parts = rank.step;
  const auto& work = rank.load.work;
  return {parts.route + parts.ids, parts.lookup + parts.rows + parts.pool, parts.gradients + work[kUpdating],
          plan.step_seconds(), 0.0};
}

void print_parts(const JobTable& table, const TablePlan& plan) {
  std::printf("        %7ld x %3ld, %2ld ids, skew %.2f: %s, %.3f ms; next %s, %.3f ms\n",
              static_cast<long>(table.ids.rows), static_cast<long>(table.request.spec.dim),
              static_cast<long>(table.ids.pooling), table.ids.alpha, to_text(plan.placed.choice).c_str(),
              plan.seconds * 1e3, plan.next ? to_text(*plan.next).c_str() : "none", plan.next_seconds * 1e3);
}

void print_job(const Options& options, const BenchJob& job, const Plan& plan, const StepTimes& measured,
               const WireBytes& bytes) {
  const StepTimes predicted = predicted_times(plan);
  if (options.parts) {
    for (size_t t = 0; t < job.tables.size(); ++t) print_parts(job.tables[t], plan.tables[t]);
    for (const size_t s : {kRoute, kLookup, kLearn}) {
      std::printf("        %-7s predicted %7.3f ms, measured %7.3f ms, %+6.1f %%\n", kTimedNames[s], predicted[s] * 1e3,
                  measured[s] * 1e3, 100.0 * (predicted[s] / measured[s] - 1.0));
    }
    const StepParts& parts = plan.ranks[static_cast<size_t>(plan.slowest)].step;
    std::printf(
        "        (route %.3f ids %.3f lookup %.3f rows %.3f pool %.3f gradients %.3f update %.3f fixed %.3f "
        "wait %.3f)\n",
        parts.route * 1e3, parts.ids * 1e3, parts.lookup * 1e3, parts.rows * 1e3, parts.pool * 1e3,
        parts.gradients * 1e3, parts.update * 1e3, parts.fixed * 1e3, parts.wait * 1e3);
  }
  for (uint8_t w = 0; w < kWireKinds; ++w) {
    double expected = 0.0;
    for (const RankPlan& rank : plan.ranks) expected += rank.load.wires[w].sent;
    if (expected == 0.0 && bytes[w] == 0.0) continue;
    std::printf("        %-13s predicted %9.0f bytes, measured %9.0f, %+6.2f %%\n", to_text(static_cast<WireKind>(w)),
                expected, bytes[w], 100.0 * (expected / bytes[w] - 1.0));
  }
}

/// Relative error of the predicted step.
double run_job(const Options& options, const HardwareProfile& profile, uint64_t number, Communicator& comm) {
  const BenchJob job = random_job(options.seed, number, comm.size());
  const PlanRequest request = request_of(job, profile, comm.size());
  const Plan plan = make_plan(request);
  RunningJob running(job, placed_specs(request, plan), comm);
  const StepTimes measured = running.run(options.steps);
  const double error = plan.step_seconds() / measured[kStep] - 1.0;
  if (comm.rank() != 0) return error;
  std::printf("job %2d: batch %5ld, %zu tables: predicted %7.3f ms, measured %7.3f ms, %+6.1f %%; cpu %7.3f ms\n",
              static_cast<int>(number), static_cast<long>(job.rank_batch), job.tables.size(), plan.step_seconds() * 1e3,
              measured[kStep] * 1e3, 100.0 * error, measured[kCpu] * 1e3);
  print_job(options, job, plan, measured, running.bytes());
  std::fflush(stdout);
  return error;
}

void print_rate(const char* name, const WorkRate& rate) {
  std::printf(" %s %.1f+%.3fb", name, rate.item_seconds * 1e9, rate.byte_seconds * 1e9);
}

/// Nanoseconds of an item, and of a byte.
void print_profile(const HardwareProfile& profile) {
  for (const WayRates* way : {&profile.rows, &profile.sums}) {
    std::printf("%s:", way == &profile.rows ? "rows" : "sums");
    print_rate("ask", way->ask);
    print_rate("hear", way->hear);
    print_rate("pool", way->pool);
    print_rate("unpool", way->unpool);
    print_rate("leaf", way->leaf);
    print_rate("answer", way->answer);
    print_rate("merge", way->merge);
    for (const MemoryPoint& point : way->memory) {
      std::printf("\n  %4.0f MB:", point.table_bytes * 1e-6);
      print_rate("find", point.find);
      print_rate("gather", point.gather);
      print_rate("update", point.update);
    }
    std::printf("\n");
  }
  std::printf("step %.1f us, table %.1f us, more with peers %.1f us and %.1f us; message %.1f us, GB/s",
              profile.step_seconds * 1e6, profile.table_seconds * 1e6, profile.peer_step_seconds * 1e6,
              profile.peer_table_seconds * 1e6, profile.all_to_all.within.message_seconds * 1e6);
  for (const RatePoint& point : profile.all_to_all.within.rates) std::printf(" %.1f", point.bytes_per_second * 1e-9);
  std::printf("\n");
}

/// Of the ranks that run, at the same time.
HardwareProfile calibrated(Communicator& comm) {
  SilentProgress progress;
  HardwareProfile profile;
  profile.name = "of this run";
  profile.memory_bytes = 1e12;
  profile.ranks_per_node = comm.size();
  if (comm.size() > 1) {
    calibrate_links(comm, 0, progress, profile);
  } else {
    const LinkCost none{.rates = {{1.0, 1e12}}};
    profile.all_to_all = profile.all_gather = profile.reduce_scatter = profile.all_reduce = {none, none};
  }
  calibrate_work({}, comm, progress, profile);
  return profile;
}

void run(const Options& options, Communicator& comm) {
  const HardwareProfile profile = calibrated(comm);
  if (comm.rank() == 0 && options.parts) print_profile(profile);
  std::vector<double> errors;
  int64_t within = 0;
  for (int64_t job = options.first; job < options.first + options.jobs; ++job) {
    errors.push_back(std::abs(run_job(options, profile, static_cast<uint64_t>(job), comm)));
    within += errors.back() <= 0.2 ? 1 : 0;
  }
  if (comm.rank() != 0) return;
  std::ranges::sort(errors);
  const nlohmann::json result{{"bench", "plan"},
                              {"world", comm.size()},
                              {"device", "cpu"},
                              {"threads", threads()},
                              {"seed", options.seed},
                              {"jobs", options.jobs},
                              {"within_20_percent", within},
                              {"median_error", errors[errors.size() / 2]},
                              {"largest_error", errors.back()}};
  std::cout << "RESULT " << result.dump() << std::endl;
}

Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description flags;
  const auto add = [&](const char* name, auto* value) { flags.add_options()(name, po::value(value)); };
  add("first", &options.first);
  add("jobs", &options.jobs);
  add("steps", &options.steps);
  add("seed", &options.seed);
  flags.add_options()("parts", po::bool_switch(&options.parts));
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, flags), values);
  po::notify(values);
  return options;
}

}  // namespace
}  // namespace rondo::bench

int main(int argc, char** argv) {
  rondo::MpiSession session;
  try {
    const rondo::bench::Options options = rondo::bench::parse(argc, argv);
    rondo::set_threads(1);
    auto comm = rondo::make_mpi_communicator(session, {});
    rondo::bench::run(options, *comm);
    comm.reset();
    session.finalize();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "plan_bench: " << error.what() << "\n";
    session.abort(1);
  }
}
