// A plan against reality: random jobs, each planned and then run, predicted against measured step time.
//
//   mpirun -n 2 plan_bench --profile FILE    FILE by rondo calibrate under the same mpirun, threads and load
//   plan_bench --profile FILE                a world of one
//
// A job: a few tables, each with its own rows, width, ids and skew, placed by the planner; all rows are made first. A
// step is that of exchange_bench: ids routed, rows back, bags summed, the sums' gradients back, rows updated; ranks
// begin each of these stages together, and the fastest of each counts, as in calibration.

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "launch/profile_text.h"
#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/embedding/pooling.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/handle/mpi_session.h"
#include "sharding/plan/planner.h"
#include "tests/bench/id_stream.h"

namespace rondo::bench {
namespace {

constexpr int64_t kBatches = 8;
constexpr int64_t kFillIds = 131'072;

struct Options {
  std::string profile;
  int64_t jobs = 10;
  int64_t steps = 100;
  uint64_t seed = 1;
  bool phases = false;
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

BenchJob random_job(uint64_t seed, uint64_t number) {
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
                 .alpha = 1.2 * random.uniform(t, 2)};
    TableRequest& request = table.request;
    request.spec.name = concat("job ", number, " table ", t);
    request.spec.rows = table.ids.rows;
    request.spec.dim = pick({16, 32, 64, 128}, t, 3);
    request.statistics = {static_cast<double>(table.ids.pooling), 1.0, table.ids.alpha, {}};
    request.pooled = true;
    job.tables.push_back(std::move(table));
  }
  return job;
}

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::ranges::copy(values, tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

/// Stages of a step, in milliseconds.
constexpr std::array kStages{"route", "rows", "pool", "update"};
using Stages = std::array<double, kStages.size()>;

class RunningJob {
 public:
  RunningJob(const BenchJob& job, std::vector<TableSpec> specs, Communicator& comm)
      : job_(job), comm_(comm), embedding_(std::move(specs), 1, comm) {
    make_rows();
    for (int64_t b = 0; b < kBatches; ++b) {
      std::vector<TableIds> ids;
      std::vector<at::Tensor> offsets;
      for (size_t t = 0; t < job.tables.size(); ++t) {
        const StreamPlace place{b, comm.rank(), static_cast<int64_t>(t)};
        const IdStream stream(job.tables[t].ids);
        offsets.push_back(to_tensor(stream.offsets(place)));
        ids.push_back({.keys = to_tensor(stream.ids(place, stream.offsets(place).back())), .counted = 0});
      }
      batches_.emplace_back(std::move(ids), std::move(offsets));
    }
  }

  /// The fastest of each stage, on the slowest rank.
  Stages run(int64_t steps) {
    Stages stages;
    stages.fill(std::numeric_limits<double>::infinity());
    for (int64_t i = 0; i < steps; ++i) step(batches_[static_cast<size_t>(i % kBatches)], stages);
    for (double& ms : stages) {
      ms = static_cast<double>(largest_of(comm_, std::llround(ms * 1e6), "fastest stage")) * 1e-6;
    }
    return stages;
  }

 private:
  using BatchIds = std::pair<std::vector<TableIds>, std::vector<at::Tensor>>;

  void make_rows() {
    int64_t rows = 0;
    for (const JobTable& table : job_.tables) rows = std::max(rows, table.ids.rows);
    for (int64_t first = 0; first < rows; first += kFillIds) {
      std::vector<TableIds> ids;
      for (const JobTable& table : job_.tables) {
        std::vector<int64_t> keys;
        for (int64_t k = first; k < std::min(first + kFillIds, table.ids.rows); ++k) keys.push_back(k);
        ids.push_back({.keys = to_tensor(keys), .counted = 0});
      }
      embedding_.route(ids, LookupMode::kTrain);
    }
  }

  void step(const BatchIds& batch, Stages& stages) {
    Stopwatch watch;
    const auto lap = [&](size_t stage) {
      stages[stage] = std::min(stages[stage], watch.restart() * 1e3);
      comm_.barrier({Channel::kControl, "stage"});
      watch.restart();
    };
    comm_.barrier({Channel::kControl, "step"});
    watch.restart();
    const RoutedIds routed = embedding_.route(batch.first, LookupMode::kTrain);
    lap(0);
    const std::vector<TableRows> rows = embedding_.forward(routed, ++step_);
    lap(1);
    std::vector<at::Tensor> sums, gradients;
    for (size_t t = 0; t < rows.size(); ++t) {
      sums.push_back(pool_rows(rows[t].values, routed.tables[t].positions, batch.second[t], {}));
      gradients.push_back(at::ones_like(sums.back()));
    }
    torch::autograd::backward(sums, gradients);
    lap(2);
    embedding_.backward(routed, rows, step_, 1.0);
    lap(3);
  }

  const BenchJob& job_;
  Communicator& comm_;
  ShardedEmbedding embedding_;
  std::vector<BatchIds> batches_;
  int64_t step_ = 0;
};

PlanRequest request_of(const BenchJob& job, const HardwareProfile& profile, int world) {
  PlanRequest request;
  request.world = world;
  request.global_batch = job.rank_batch * world;
  request.profile = profile;
  for (const JobTable& table : job.tables) request.tables.push_back(table.request);
  return request;
}

double run_job(const Options& options, const HardwareProfile& profile, uint64_t number, Communicator& comm) {
  const BenchJob job = random_job(options.seed, number);
  const PlanRequest request = request_of(job, profile, comm.size());
  const Plan plan = make_plan(request);
  const Stages measured = RunningJob(job, placed_specs(request, plan), comm).run(options.steps);
  const double measured_ms = std::accumulate(measured.begin(), measured.end(), 0.0);
  const double predicted_ms = plan.step_seconds() * 1e3, error = predicted_ms / measured_ms - 1.0;
  if (comm.rank() != 0) return error;
  std::string choices;
  for (const TablePlan& table : plan.tables) choices += " " + to_text(table.placed.choice);
  std::printf("job %2d: batch %5ld, %zu tables: predicted %7.3f ms, measured %7.3f ms, %+6.1f %%  (%s )\n",
              static_cast<int>(number), static_cast<long>(job.rank_batch), job.tables.size(), predicted_ms, measured_ms,
              100.0 * error, choices.c_str());
  if (options.phases) {
    const StepParts& parts = plan.ranks[static_cast<size_t>(plan.slowest)].step;
    const Stages predicted{parts.route + parts.ids, parts.lookup + parts.rows, parts.pool,
                           parts.gradients + parts.update};
    for (size_t i = 0; i < kStages.size(); ++i) {
      std::printf("        %-7s predicted %7.3f, measured %7.3f\n", kStages[i], predicted[i] * 1e3, measured[i]);
    }
    std::printf("        fixed   predicted %7.3f\n", parts.fixed * 1e3);
  }
  std::fflush(stdout);
  return error;
}

void run(const Options& options, Communicator& comm) {
  const HardwareProfile profile = load_profile(options.profile);
  std::vector<double> errors;
  int64_t within = 0;
  for (int64_t job = 0; job < options.jobs; ++job) {
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
  flags.add_options()("profile", po::value(&options.profile)->required())("jobs", po::value(&options.jobs))(
      "steps", po::value(&options.steps))("seed", po::value(&options.seed))("phases", po::bool_switch(&options.phases));
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
