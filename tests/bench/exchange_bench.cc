// Train steps of pooled embedding tables on the ids of the program that runs TorchRec on the same work (id_stream.h).
//
//   mpirun -n 2 exchange_bench                                    two processes
//   exchange_bench --world-size 2                                 two threads of one process
//   exchange_bench --world-size 2 --rows 1000 --verify --steps 3  sharded == unsharded, first of all
//   exchange_bench --dump-ids 8                                   the first ids
//
// A step: ids routed, bags back, loss (mean square over the global batch), gradients to the owners, rows updated.
// Options have the names and defaults of the peer's. The plain loop (plain_loop.h) runs on the same ids with all
// threads of all ranks. Ends with 1 when --verify finds a difference.

#include <ATen/ops/empty.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cmath>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/comm/thread_communicator.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/handle/mpi_session.h"
#include "tests/bench/collective_bench.h"
#include "tests/bench/id_stream.h"
#include "tests/bench/plain_loop.h"

namespace rondo::bench {
namespace {

constexpr uint64_t kTableSeed = 1;
constexpr float kTolerance = 1e-5F;
constexpr int kVerifiedSteps = 4;

const std::map<std::string, Placement> kPlacements{{"row_wise", Placement::kRowWise},
                                                   {"table_wise", Placement::kTableWise},
                                                   {"column_wise", Placement::kColumnWise},
                                                   {"data_parallel", Placement::kReplicated}};
const std::map<std::string, RowOptimizerKind> kOptimizers{{"sgd", RowOptimizerKind::kSgd},
                                                          {"rowwise_adagrad", RowOptimizerKind::kRowWiseAdagrad}};
const std::map<std::string, WayHome> kWaysHome{{"rows", WayHome::kRows}, {"sums", WayHome::kSums}};
const std::map<std::string, KeySpace> kKeySpaces{{"dense", KeySpace::kDense}, {"hashed", KeySpace::kHashed}};

struct Options {
  IdStreamOptions ids;
  int world_size = 2;
  int64_t dim = 64;
  std::string sharding = "row_wise";
  std::string optimizer = "rowwise_adagrad";
  std::string key_space = "dense";
  std::string way_home = "sums";
  std::string backend = "auto";
  double learning_rate = 0.05;
  double epsilon = 1e-8;
  int64_t steps = 100;
  int64_t warmup = 20;
  int64_t distinct_batches = 16;  // cycled through
  int threads = 1;                // of a rank
  bool share_memory = true;       // between processes of one host
  bool verify = false;
  int64_t dump_ids = 0;
};

TableSpec table_spec(const Options& options, int64_t table) {
  return {.name = concat("table_", table),
          .dim = options.dim,
          .key_space = kKeySpaces.at(options.key_space),
          .rows = options.ids.rows,
          .placement = kPlacements.at(options.sharding),
          .way_home = options.sharding == "data_parallel" ? WayHome::kRows : kWaysHome.at(options.way_home),
          .optimizer = {.kind = kOptimizers.at(options.optimizer),
                        .learning_rate = options.learning_rate,
                        .epsilon = options.epsilon}};
}

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::ranges::copy(values, tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

/// One rank's share of a batch: one pooled feature a table.
std::vector<PooledFeature> make_share(const IdStream& stream, int64_t batch, int64_t rank) {
  std::vector<PooledFeature> share;
  for (int64_t t = 0; t < stream.options().tables; ++t) {
    const std::vector<int64_t> offsets = stream.offsets({batch, rank, t});
    share.push_back({.name = concat("f_", t),
                     .table = t,
                     .keys = to_tensor(stream.ids({batch, rank, t}, offsets.back())),
                     .offsets = to_tensor(offsets)});
  }
  return share;
}

/// The whole batch, rank after rank, one entry a table.
std::vector<Bags> make_bags(const IdStream& stream, int64_t batch, int64_t world) {
  std::vector<Bags> tables(static_cast<size_t>(stream.options().tables));
  for (size_t t = 0; t < tables.size(); ++t) {
    tables[t].offsets.push_back(0);
    for (int64_t rank = 0; rank < world; ++rank) {
      const StreamPlace place{batch, rank, static_cast<int64_t>(t)};
      const std::vector<int64_t> offsets = stream.offsets(place), ids = stream.ids(place, offsets.back());
      const auto before = static_cast<int64_t>(tables[t].ids.size());
      tables[t].ids.insert(tables[t].ids.end(), ids.begin(), ids.end());
      for (size_t b = 1; b < offsets.size(); ++b) tables[t].offsets.push_back(before + offsets[b]);
    }
  }
  return tables;
}

/// d loss / d x = 2 x / count, for the mean of the squares of `count` values.
void square_gradient(const float* values, int64_t size, double count, float* gradient) {
  const auto scale = static_cast<float>(2.0 / count);
  for (int64_t i = 0; i < size; ++i) gradient[i] = scale * values[i];
}

/// CPU time of `clock` so far: what a step costs on a machine that others use as well.
double cpu_ms(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The parts of a step, in order.
enum Phase : size_t { kRoute, kLookup, kLoss, kLearn, kPhases };
constexpr std::array<const char*, kPhases> kPhaseNames{"route", "lookup", "loss", "learn"};
using PhaseTimes = std::array<std::vector<double>, kPhases>;

nlohmann::json by_name(const PhaseTimes& times) {
  nlohmann::json medians;
  for (size_t p = 0; p < kPhases; ++p) medians[kPhaseNames[p]] = median(times[p]);
  return medians;
}

/// The sharded tables of one rank and its shares of the batches.
class ShardedRun {
 public:
  ShardedRun(const Options& options, Communicator& comm) : options_(options), comm_(comm), embedding_(make()) {
    const IdStream stream(options.ids);
    for (int64_t b = 0; b < options.distinct_batches; ++b) shares_.push_back(make_share(stream, b, comm.rank()));
    const TableIds none{.keys = at::empty({0}, at::kLong)};
    no_sequences_.assign(static_cast<size_t>(options.ids.tables), none);
    values_ = static_cast<double>(comm.size() * options.ids.batch * options.ids.tables * options.dim);
  }

  /// One step on batch `batch`; the pooled rows before it, one entry a table.
  std::vector<at::Tensor> step(int64_t batch) {
    const std::vector<PooledFeature>& share = shares_[static_cast<size_t>(batch) % shares_.size()];
    ++steps_;
    watch_.restart();
    cpu_before_ = cpu_ms(CLOCK_THREAD_CPUTIME_ID);
    embedding_.route(no_sequences_, LookupMode::kTrain, share, routed_);
    lap(kRoute);
    EmbeddedBatch embedded = embedding_.lookup(routed_, steps_);
    lap(kLookup);
    for (at::Tensor& bags : embedded.bags) {
      const at::Tensor gradient = at::empty(bags.sizes(), bags.scalar_type());
      square_gradient(bags.const_data_ptr<float>(), bags.numel(), values_, gradient.mutable_data_ptr<float>());
      bags.mutable_grad() = gradient;
    }
    lap(kLoss);
    embedding_.learn(routed_, embedded, steps_, 1.0);
    lap(kLearn);
    return embedded.bags;
  }

  ShardedEmbedding::Traffic traffic() const { return embedding_.traffic(); }
  void forget_times() { phase_ms_ = phase_cpu_ms_ = {}; }

  /// Medians, and of the CPU time of this thread.
  nlohmann::json phases_ms() const { return by_name(phase_ms_); }
  nlohmann::json phases_cpu_ms() const { return by_name(phase_cpu_ms_); }

 private:
  ShardedEmbedding make() const {
    std::vector<TableSpec> specs;
    for (int64_t t = 0; t < options_.ids.tables; ++t) specs.push_back(table_spec(options_, t));
    return ShardedEmbedding(std::move(specs), kTableSeed, comm_);
  }

  void lap(Phase phase) {
    const double now = cpu_ms(CLOCK_THREAD_CPUTIME_ID);
    phase_ms_[phase].push_back(watch_.restart() * 1e3);
    phase_cpu_ms_[phase].push_back(now - std::exchange(cpu_before_, now));
  }

  const Options& options_;
  Communicator& comm_;
  ShardedEmbedding embedding_;
  std::vector<std::vector<PooledFeature>> shares_;
  std::vector<TableIds> no_sequences_;  // [tables]
  RoutedIds routed_;
  double values_ = 0.0;  // of all pooled rows of a global batch
  int64_t steps_ = 0;
  Stopwatch watch_;
  double cpu_before_ = 0.0;
  PhaseTimes phase_ms_, phase_cpu_ms_;
};

/// The plain loop on whole batches, and the values it starts from.
class PlainRun {
 public:
  PlainRun(const Options& options, int64_t world, int64_t batches)
      : loop_({.tables = options.ids.tables,
               .rows = options.ids.rows,
               .dim = options.dim,
               .optimizer = options.optimizer == "sgd" ? PlainOptimizer::kSgd : PlainOptimizer::kRowWiseAdagrad,
               .learning_rate = static_cast<float>(options.learning_rate),
               .epsilon = static_cast<float>(options.epsilon)}),
        pooled_(static_cast<size_t>(options.ids.tables)),
        gradients_(pooled_.size()),
        values_(static_cast<double>(world * options.ids.batch * options.ids.tables * options.dim)) {
    const IdStream stream(options.ids);
    for (int64_t b = 0; b < batches; ++b) batches_.push_back(make_bags(stream, b, world));
    std::vector<TableSpec> specs;
    for (int64_t t = 0; t < options.ids.tables; ++t) specs.push_back(table_spec(options, t));
    loop_.initialise([&](int64_t table, int64_t row, float* values) {
      initial_row(specs[static_cast<size_t>(table)], static_cast<uint64_t>(row), values);
    });
  }

  /// The pooled rows before the step, [world * batch, dim] of each table.
  const std::vector<std::vector<float>>& step(int64_t batch) {
    const std::vector<Bags>& bags = batches_[static_cast<size_t>(batch) % batches_.size()];
    loop_.forward(bags, pooled_);
    for (size_t t = 0; t < pooled_.size(); ++t) {
      gradients_[t].resize(pooled_[t].size());
      square_gradient(pooled_[t].data(), static_cast<int64_t>(pooled_[t].size()), values_, gradients_[t].data());
    }
    loop_.backward(bags, gradients_);
    return pooled_;
  }

 private:
  /// The values that a new row of the store has.
  static void initial_row(const TableSpec& spec, uint64_t key, float* values) {
    const CounterRandom start(kTableSeed ^ hash_bytes(spec.name), 0, RandomPurpose::kInitialRow);
    for (int64_t c = 0; c < spec.dim; ++c) {
      values[c] = static_cast<float>(spec.initial_scale * (2.0 * start.uniform(key, static_cast<uint64_t>(c)) - 1.0));
    }
  }

  PlainLoop loop_;
  std::vector<std::vector<Bags>> batches_;
  std::vector<std::vector<float>> pooled_, gradients_;
  double values_;
};

/// Largest difference between the sharded and the plain steps on this rank, over the largest value.
double difference(const Options& options, Communicator& comm, ShardedRun& sharded) {
  PlainRun plain(options, comm.size(), 2);
  double worst = 0.0, largest = 0.0;
  for (int step = 0; step < kVerifiedSteps; ++step) {
    const std::vector<at::Tensor> got = sharded.step(step % 2);
    const std::vector<std::vector<float>>& expected = plain.step(step % 2);
    for (size_t t = 0; t < got.size(); ++t) {
      const float* const values = got[t].const_data_ptr<float>();
      const float* const plain_values = expected[t].data() + comm.rank() * got[t].numel();
      for (int64_t i = 0; i < got[t].numel(); ++i) {
        largest = std::max<double>(largest, std::abs(plain_values[i]));
        worst = std::max<double>(worst, std::abs(values[i] - plain_values[i]));
      }
    }
  }
  return worst / largest;
}

bool verify(const Options& options, Communicator& comm, ShardedRun& sharded) {
  const double worst = difference(options, comm, sharded);
  constexpr double kUnit = 1e12;  // travels as a whole number
  const auto over_ranks = static_cast<double>(largest_of(comm, std::llround(worst * kUnit), "difference")) / kUnit;
  if (comm.rank() == 0) {
    std::cout << "verify: " << kVerifiedSteps << " steps, largest difference of pooled rows over the largest value "
              << over_ranks << (over_ranks <= kTolerance ? "" : ": too much") << std::endl;
  }
  return over_ranks <= kTolerance;
}

struct PlainSpeed {
  double examples_per_s, cpu_ms_per_step;
};

PlainSpeed time_plain_loop(const Options& options, int64_t world) {
  set_threads(static_cast<int>(world) * options.threads);
  PlainRun plain(options, world, options.distinct_batches);
  for (int64_t i = 0; i < options.warmup; ++i) plain.step(i);
  const Stopwatch watch;
  const double cpu_before = cpu_ms(CLOCK_PROCESS_CPUTIME_ID);
  for (int64_t i = 0; i < options.steps; ++i) plain.step(i);
  const auto steps = static_cast<double>(options.steps);
  return {static_cast<double>(world * options.ids.batch) * steps / watch.seconds(),
          (cpu_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_before) / steps};
}

/// Of all ranks, per step, by kind.
nlohmann::json wire_bytes(Communicator& comm, const ShardedEmbedding::Traffic& before,
                          const ShardedEmbedding::Traffic& after, int64_t steps) {
  using Traffic = ShardedEmbedding::Traffic;
  const std::array<std::pair<const char*, int64_t Traffic::*>, 7> kinds{
      {{"ids", &Traffic::id_bytes},
       {"bag_entries", &Traffic::bag_entry_bytes},
       {"rows", &Traffic::row_bytes},
       {"bags", &Traffic::bag_bytes},
       {"gradients", &Traffic::gradient_bytes},
       {"bag_gradients", &Traffic::bag_gradient_bytes},
       {"squares", &Traffic::square_bytes}}};
  nlohmann::json bytes;
  int64_t total = 0;
  for (const auto& [name, kind] : kinds) {
    const int64_t sent = sum_of(comm, after.*kind - before.*kind, name) / steps;
    bytes[name] = sent;
    total += sent;
  }
  bytes["total"] = total;
  return bytes;
}

nlohmann::json timed_steps(const Options& options, Communicator& comm, ShardedRun& sharded) {
  for (int64_t i = 0; i < options.warmup; ++i) sharded.step(i);
  sharded.forget_times();
  const auto before = sharded.traffic();
  std::vector<double> step_ms;
  comm.barrier({Channel::kControl, "start"});
  const Stopwatch wall;
  const double cpu_before = cpu_ms(CLOCK_PROCESS_CPUTIME_ID);
  for (int64_t i = 0; i < options.steps; ++i) {
    const Stopwatch watch;
    sharded.step(i);
    step_ms.push_back(watch.seconds() * 1e3);
  }
  const int64_t slowest_ns = largest_of(comm, std::llround(wall.seconds() * 1e9), "wall time");
  const nlohmann::json bytes = wire_bytes(comm, before, sharded.traffic(), options.steps);
  const double cpu = (cpu_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_before) / static_cast<double>(options.steps);
  const auto examples = static_cast<double>(comm.size() * options.ids.batch * options.steps);
  return {{"examples_per_s_total", examples / (static_cast<double>(slowest_ns) * 1e-9)},
          {"step_ms_p50", median(step_ms)},
          {"wire_bytes_per_step", bytes["total"]},
          {"wire_bytes", bytes},
          {"cpu_ms_per_step", cpu},
          {"phases_ms", sharded.phases_ms()},
          {"phases_cpu_ms", sharded.phases_cpu_ms()}};
}

/// What one rank does; false when verification fails.
bool run_rank(const Options& options, Communicator& comm, const char* backend) {
  set_threads(options.threads);  // OpenMP keeps the number for each thread that starts regions
  nlohmann::json result;
  {
    ShardedRun sharded(options, comm);
    if (options.verify && !verify(options, comm, sharded)) return false;
    result = timed_steps(options, comm, sharded);
  }
  if (comm.rank() == 0) {
    const PlainSpeed plain = time_plain_loop(options, comm.size());
    result["plain_loop_examples_per_s"] = plain.examples_per_s;
    result["plain_loop_cpu_ms_per_step"] = plain.cpu_ms_per_step;
    result["of_plain_loop"] = result["examples_per_s_total"].get<double>() / plain.examples_per_s;
    result["bench"] = "exchange";
    result["world"] = comm.size();
    result["threads"] = options.threads;
    result["backend"] = backend;
    result["device"] = "cpu";
    result["sharding"] = options.sharding;
    result["way_home"] = options.way_home;
    result["optimizer"] = options.optimizer;
    result["shape"] = {{"tables", options.ids.tables},   {"rows", options.ids.rows},   {"dim", options.dim},
                       {"pooling", options.ids.pooling}, {"batch", options.ids.batch}, {"alpha", options.ids.alpha},
                       {"key_space", options.key_space}, {"verified", options.verify}};
    std::cout << "RESULT " << result.dump() << std::endl;
  }
  comm.barrier({Channel::kControl, "end"});
  return true;
}

bool run(const Options& options, MpiSession& session) {
  if (options.dump_ids > 0) {
    if (session.rank() == 0) std::cout << dump_ids(options.ids, options.dump_ids);
    return true;
  }
  if (options.backend == "nccl") return run_collectives_on_devices(session);
  if (session.size() > 1)
    return run_rank(options, *make_mpi_communicator(session, {.share_memory = options.share_memory}), "mpi");
  bool good = true;
  run_ranks(options.world_size, {}, [&](Communicator& comm) {
    if (!run_rank(options, comm, "thread") && comm.rank() == 0) good = false;
  });
  return good;
}

template <typename Value>
void require_name(const std::map<std::string, Value>& names, const std::string& flag, const std::string& given) {
  if (names.contains(given)) return;
  std::string known;
  for (const auto& [name, value] : names) known += (known.empty() ? "" : ", ") + name;
  throw ConfigError(concat("--", flag, " must be one of ", known, ", got ", given));
}

void validate(const Options& options) {
  require_name(kPlacements, "sharding", options.sharding);
  require_name(kOptimizers, "optimizer", options.optimizer);
  require_name(kWaysHome, "way-home", options.way_home);
  require_name(kKeySpaces, "key-space", options.key_space);
  require_name<bool>({{"auto", false}, {"nccl", true}}, "backend", options.backend);
  constexpr int64_t kMostVerified = 50'000'000;
  if (options.verify && options.ids.tables * options.ids.rows * options.dim > kMostVerified) {
    throw ConfigError("--verify keeps all tables on every rank: use smaller --rows, --tables or --dim");
  }
  if (options.ids.rows < 1 || options.ids.pooling < 1 || options.steps < 1 || options.distinct_batches < 1) {
    throw ConfigError("--rows, --pooling, --steps and --distinct-batches must be positive");
  }
}

Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  std::string pooling_dist = "fixed", id_layout = "scatter";
  po::options_description flags;
  const auto add = [&](const char* name, auto* value) { flags.add_options()(name, po::value(value)); };
  add("world-size", &options.world_size);
  add("rows", &options.ids.rows);
  add("dim", &options.dim);
  add("tables", &options.ids.tables);
  add("batch", &options.ids.batch);
  add("pooling", &options.ids.pooling);
  add("pooling-dist", &pooling_dist);
  add("alpha", &options.ids.alpha);
  add("id-layout", &id_layout);
  add("sharding", &options.sharding);
  add("optimizer", &options.optimizer);
  add("way-home", &options.way_home);
  add("backend", &options.backend);
  add("key-space", &options.key_space);
  add("lr", &options.learning_rate);
  add("eps", &options.epsilon);
  add("steps", &options.steps);
  add("warmup", &options.warmup);
  add("distinct-batches", &options.distinct_batches);
  add("threads", &options.threads);
  add("share-memory", &options.share_memory);
  add("seed", &options.ids.seed);
  add("dump-ids", &options.dump_ids);
  flags.add_options()("verify", po::bool_switch(&options.verify));
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, flags), values);
  po::notify(values);
  require_name<bool>({{"fixed", false}, {"uniform", true}}, "pooling-dist", pooling_dist);
  require_name<bool>({{"scatter", true}, {"ranked", false}}, "id-layout", id_layout);
  options.ids.uniform_lengths = pooling_dist == "uniform";
  options.ids.scatter = id_layout == "scatter";
  validate(options);
  return options;
}

}  // namespace
}  // namespace rondo::bench

int main(int argc, char** argv) {
  rondo::MpiSession session;
  bool good = false;
  try {
    good = rondo::bench::run(rondo::bench::parse(argc, argv), session);
  } catch (const rondo::Error& error) {
    std::cerr << "exchange_bench: " << error.what() << std::endl;
    session.abort(static_cast<int>(error.exit_code()));
  } catch (const std::exception& error) {
    std::cerr << "exchange_bench: " << error.what() << std::endl;
    session.abort(70);
  }
  session.finalize();
  return good ? 0 : 1;
}
