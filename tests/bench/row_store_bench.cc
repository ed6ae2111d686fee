// Memory and step time of ShardedEmbedding.
//
//   row_store_bench --rows 20000000 --dim 64 --ranks 2      writes every row once; peak memory against the bound
//   mpirun -n 2 row_store_bench --rows 20000000 --dim 64    the same with processes
//   row_store_bench --scaling                               step time at 10^5 and 10^7 rows against a plain loop
//
// Results are checked before anything is timed or printed. Ends with 1 when a bound is broken.

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
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

namespace rondo {
namespace {

constexpr uint64_t kSeed = 1;
constexpr CounterRandom kRandom(2, 0, RandomPurpose::kTest);
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

struct Options {
  int64_t rows = 1'000'000;
  int64_t dim = 64;
  int64_t batch = 65'536;  // ids of all ranks in a step
  int ranks = 2;
  int threads = 1;  // of a rank
  bool scaling = false;
};

uint64_t key_of(int64_t row) { return mix64(static_cast<uint64_t>(row) + 1); }

TableIds ids_of(int64_t first, int64_t last, int64_t stride) {
  TableIds ids{.keys = at::empty({first < last ? (last - first + stride - 1) / stride : 0}, at::kLong), .counted = 0};
  auto* key = reinterpret_cast<uint64_t*>(ids.keys.mutable_data_ptr<int64_t>());
  for (int64_t row = first; row < last; row += stride) *key++ = key_of(row);
  return ids;
}

int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

/// One step of the ids with gradient one everywhere. Returns the rows as they were.
TableRows step_of_ones(ShardedEmbedding& embedding, const TableIds& ids, int64_t step) {
  const RoutedIds routed = embedding.route({&ids, 1}, LookupMode::kTrain);
  std::vector<TableRows> rows = embedding.forward(routed, step);
  rows[0].values.mutable_grad() = at::ones_like(rows[0].values);
  embedding.backward(routed, rows, step, 1.0);
  return rows[0];
}

/// Rows that one row-wise Adagrad step with gradient one has moved: by rate / (1 + epsilon) from where they start.
void verify_written(ShardedEmbedding& embedding, const Options& options, int64_t first) {
  const TableSpec& spec = embedding.spec(0);
  const CounterRandom start(kSeed ^ hash_bytes(spec.name), 0, RandomPurpose::kInitialRow);
  const int64_t stride = std::max<int64_t>(1, options.rows / 10'000);
  const TableIds ids = ids_of(first, options.rows, stride);
  const RoutedIds routed = embedding.route({&ids, 1}, LookupMode::kEvaluate);
  const TableRows rows = embedding.forward(routed, 1)[0];
  const float* const values = rows.values.const_data_ptr<float>();
  const int64_t* const positions = routed.tables[0].positions.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.keys.size(0); ++i) {
    for (int64_t c = 0; c < spec.dim; ++c) {
      const double unit = start.uniform(key_of(first + i * stride), static_cast<uint64_t>(c));
      const double expected = spec.initial_scale * (2.0 * unit - 1.0) - spec.optimizer.learning_rate;
      RONDO_CHECK(std::abs(values[positions[i] * spec.dim + c] - expected) < 1e-6, "row ", first + i * stride);
    }
  }
}

/// Writes every row; true when the peak of all ranks is within the bound. `processes`: ranks do not share memory.
bool write_all_rows(Communicator& comm, const Options& options, bool processes) {
  ShardedEmbedding embedding({{.name = "item", .dim = options.dim, .rows = options.rows}}, kSeed, comm);
  const Stopwatch watch;
  int64_t step = 0;
  for (int64_t first = 0; first < options.rows; first += options.batch) {
    const int64_t last = std::min(options.rows, first + options.batch);
    step_of_ones(embedding, ids_of(first + comm.rank(), last, comm.size()), ++step);
  }
  const double seconds = watch.seconds();
  RONDO_CHECK_EQ(sum_of(comm, embedding.store(0).rows(), "rows"), options.rows);
  verify_written(embedding, options, comm.rank());
  const int64_t stores = sum_of(comm, embedding.store(0).memory_bytes(), "store bytes");
  const auto peak = static_cast<double>(processes ? sum_of(comm, peak_bytes(), "peak bytes") : peak_bytes());
  const int64_t row_bytes = options.dim * 4 + 4 + 8 + 4 + 8;  // values, Adagrad, key, count, version
  const double net = static_cast<double>(options.rows * row_bytes), bound = 1.15 * net + 2.0 * kGiB;
  if (comm.rank() == 0) {
    const nlohmann::json result{{"bench", "row_store_memory"},
                                {"rows", options.rows},
                                {"dim", options.dim},
                                {"world", comm.size()},
                                {"backend", processes ? "mpi" : "thread"},
                                {"device", "cpu"},
                                {"net_gib", net / kGiB},
                                {"stores_gib", static_cast<double>(stores) / kGiB},
                                {"peak_gib", peak / kGiB},
                                {"bound_gib", bound / kGiB},
                                {"seconds", seconds},
                                {"rows_per_s", static_cast<double>(options.rows) / seconds},
                                {"within", peak <= bound}};
    std::cout << "RESULT " << result.dump() << std::endl;
  }
  return peak <= bound;
}

/// What a plain program would do with the same ids: one flat array, a copy of each row out, a step of SGD for each id.
class PlainLoop {
 public:
  PlainLoop(int64_t rows, int64_t dim) : dim_(dim) {
    constexpr size_t kHugePage = 2 << 20;
    const size_t bytes = (static_cast<size_t>(rows * dim) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
    values_.reset(static_cast<float*>(std::aligned_alloc(kHugePage, bytes)));
    madvise(values_.get(), bytes, MADV_HUGEPAGE);  // as the store has them
  }

  float* row(int64_t index) { return values_.get() + index * dim_; }

  void step(const std::vector<int64_t>& ids, float* out, float rate) {
    for (size_t i = 0; i < ids.size(); ++i) std::copy_n(row(ids[i]), dim_, out + static_cast<int64_t>(i) * dim_);
    for (const int64_t id : ids) {
      float* const values = row(id);
      for (int64_t c = 0; c < dim_; ++c) values[c] -= rate;
    }
  }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  int64_t dim_;
  std::unique_ptr<float, Free> values_;
};

struct StepTimes {
  double rondo_ms, plain_ms;  // a tenth of the steps is faster
};

/// What the machine does when it is not disturbed.
double fast_decile(std::vector<double> values) {
  const auto place = values.begin() + static_cast<int64_t>(values.size() / 10);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

StepTimes time_steps(Communicator& comm, const Options& options, int64_t rows) {
  constexpr int kWarmUp = 5, kSteps = 200;
  const TableSpec spec{.name = "item", .dim = options.dim, .rows = rows, .optimizer = {.kind = RowOptimizerKind::kSgd}};
  ShardedEmbedding embedding({spec}, kSeed, comm);
  PlainLoop plain(rows, options.dim);
  for (int64_t first = 0; first < rows; first += options.batch) {
    const TableIds ids = ids_of(first, std::min(rows, first + options.batch), 1);
    const TableRows made = embedding.forward(embedding.route({&ids, 1}, LookupMode::kTrain), 1)[0];
    std::copy_n(made.values.const_data_ptr<float>(), made.values.numel(), plain.row(first));
  }
  std::vector<double> rondo_ms, plain_ms;
  std::vector<float> out(static_cast<size_t>(options.batch * options.dim));
  std::vector<int64_t> places(static_cast<size_t>(options.batch));
  TableIds ids{.keys = at::empty({options.batch}, at::kLong), .counted = 0};
  for (int64_t step = 1; step <= kWarmUp + kSteps; ++step) {
    for (size_t i = 0; i < places.size(); ++i) {
      places[i] = static_cast<int64_t>(kRandom.below(static_cast<uint64_t>(rows), static_cast<uint64_t>(step), i));
      ids.keys.mutable_data_ptr<int64_t>()[i] = static_cast<int64_t>(key_of(places[i]));
    }
    Stopwatch watch;
    const RoutedIds routed = embedding.route({&ids, 1}, LookupMode::kTrain);
    std::vector<TableRows> now = embedding.forward(routed, step);
    const double forward_ms = watch.seconds() * 1e3;
    const int64_t* const positions = routed.tables[0].positions.const_data_ptr<int64_t>();
    at::Tensor gradient = at::empty(now[0].values.sizes(), at::kFloat).zero_();
    for (size_t i = 0; i < places.size(); ++i) {
      float* const sum = gradient.mutable_data_ptr<float>() + positions[i] * options.dim;
      for (int64_t c = 0; c < options.dim; ++c) sum[c] += 1.0F;
    }
    now[0].values.mutable_grad() = gradient;
    watch.restart();
    embedding.backward(routed, now, step, 1.0);
    const double backward_ms = watch.restart() * 1e3;
    plain.step(places, out.data(), static_cast<float>(spec.optimizer.learning_rate));
    if (step > kWarmUp) {
      rondo_ms.push_back(forward_ms + backward_ms);
      plain_ms.push_back(watch.seconds() * 1e3);
    }
    for (size_t i = 0; i < places.size(); i += 97) {
      const float got = now[0].values.const_data_ptr<float>()[positions[i] * options.dim];
      const float expected = out[i * static_cast<size_t>(options.dim)];
      RONDO_CHECK(std::abs(got - expected) < 1e-4F * (1.0F + std::abs(expected)), "row ", places[i], " at step ", step,
                  ": ", got, ", ", expected);
    }
  }
  return {fast_decile(rondo_ms), fast_decile(plain_ms)};
}

bool compare_scaling(const Options& options) {
  constexpr int64_t kFew = 100'000, kMany = 10'000'000;
  StepTimes few{}, many{};
  run_ranks(1, {}, [&](Communicator& comm) {
    set_threads(options.threads);
    few = time_steps(comm, options, kFew);
    many = time_steps(comm, options, kMany);
  });
  const double growth = many.rondo_ms / few.rondo_ms, plain_growth = many.plain_ms / few.plain_ms;
  const bool within = growth <= 1.5 * plain_growth;
  const nlohmann::json result{{"bench", "row_store_scaling"},
                              {"dim", options.dim},
                              {"ids", options.batch},
                              {"world", 1},
                              {"threads", options.threads},
                              {"device", "cpu"},
                              {"rows", {kFew, kMany}},
                              {"step_ms", {few.rondo_ms, many.rondo_ms}},
                              {"plain_ms", {few.plain_ms, many.plain_ms}},
                              {"growth", growth},
                              {"plain_growth", plain_growth},
                              {"within", within}};
  std::cout << "RESULT " << result.dump() << std::endl;
  return within;
}

bool run(const Options& options, MpiSession& session) {
  if (options.scaling) return compare_scaling(options);
  if (session.size() > 1) {
    set_threads(options.threads);
    const auto comm = make_mpi_communicator(session, {});
    return write_all_rows(*comm, options, true);
  }
  bool within = true;
  run_ranks(options.ranks, {}, [&](Communicator& comm) {
    set_threads(options.threads);  // OpenMP keeps the number for each thread that starts regions
    if (!write_all_rows(comm, options, false) && comm.rank() == 0) within = false;
  });
  return within;
}

Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description flags;
  flags.add_options()("rows", po::value(&options.rows))("dim", po::value(&options.dim))(
      "batch", po::value(&options.batch))("ranks", po::value(&options.ranks))("threads", po::value(&options.threads))(
      "scaling", po::bool_switch(&options.scaling));
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, flags), values);
  if (options.scaling || values["scaling"].as<bool>()) options.batch = 20'000;
  po::notify(values);
  return options;
}

}  // namespace
}  // namespace rondo

int main(int argc, char** argv) {
  rondo::MpiSession session;
  bool within = false;
  try {
    within = rondo::run(rondo::parse(argc, argv), session);
  } catch (const std::exception& error) {
    std::cerr << "row_store_bench: " << error.what() << std::endl;
    session.abort(70);
  }
  session.finalize();
  return within ? 0 : 1;
}
