// Speed of RowStore::gather and RowStore::update on random rows of one table, on one core by default.
//
//   row_update_bench --rows 1000000 --dim 64 --batch 20000
//
// Prints one RESULT line for each row optimizer and type of rows: nanoseconds per row, a tenth of the steps is faster.

#include <ATen/ops/empty.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "sharding/embedding/row_store.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(3, 0, RandomPurpose::kTest);

struct Options {
  int64_t rows = 1'000'000;
  int64_t dim = 64;
  int64_t batch = 20'000;  // rows of a step, distinct
  int64_t steps = 200;
  int threads = 1;
};

struct Kind {
  const char* optimizer;
  const char* type;
  RowOptimizerKind kind;
  RowType row_type = RowType::kFloat32;
};

constexpr Kind kKinds[] = {
    {"sgd", "fp32", RowOptimizerKind::kSgd},
    {"adagrad", "fp32", RowOptimizerKind::kAdagrad},
    {"row_wise_adagrad", "fp32", RowOptimizerKind::kRowWiseAdagrad},
    {"adam", "fp32", RowOptimizerKind::kAdam},
    {"row_wise_adam", "fp32", RowOptimizerKind::kRowWiseAdam},
    {"row_wise_adagrad", "fp16", RowOptimizerKind::kRowWiseAdagrad, RowType::kFloat16},
    {"row_wise_adagrad", "bf16", RowOptimizerKind::kRowWiseAdagrad, RowType::kBFloat16},
};

/// Distinct rows of step `step`: a stretch of a random order of all rows.
std::vector<int64_t> rows_of_step(const std::vector<int64_t>& order, int64_t step, int64_t batch) {
  const auto n = static_cast<int64_t>(order.size());
  std::vector<int64_t> rows(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i) rows[static_cast<size_t>(i)] = order[static_cast<size_t>((step * batch + i) % n)];
  return rows;
}

std::vector<int64_t> random_order(int64_t rows) {
  std::vector<int64_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[kRandom.below(i, 1, i)]);
  return order;
}

double fast_decile(std::vector<double> values) {
  const auto place = values.begin() + static_cast<int64_t>(values.size() / 10);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

void measure(const Options& options, const Kind& kind) {
  const TableSpec spec{.name = "item",
                       .dim = options.dim,
                       .rows = options.rows,
                       .row_type = kind.row_type,
                       .optimizer = {.kind = kind.kind}};
  RowStore store(spec, {0, spec.buckets}, 1);
  std::vector<uint64_t> keys(static_cast<size_t>(options.rows));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = mix64(i + 1);
  std::vector<int64_t> slots(keys.size());
  store.find_or_create(keys, slots);
  const std::vector<int64_t> order = random_order(options.rows);
  std::vector<uint64_t> updated(static_cast<size_t>(options.batch));
  const std::vector<int64_t> occurrences(static_cast<size_t>(options.batch), 1);
  at::Tensor gradients = at::empty({options.batch, options.dim}), values = at::empty({options.batch, options.dim});
  for (int64_t i = 0; i < gradients.numel(); ++i) {
    gradients.mutable_data_ptr<float>()[i] = static_cast<float>(kRandom.normal(2, static_cast<uint64_t>(i)));
  }
  std::vector<double> gather_ns, update_ns;
  for (int64_t step = 1; step <= options.steps; ++step) {
    const std::vector<int64_t> rows = rows_of_step(order, 2 * step, options.batch);
    Stopwatch watch;
    store.gather(rows, values);
    gather_ns.push_back(watch.restart() * 1e9 / static_cast<double>(options.batch));
    const std::vector<int64_t> others = rows_of_step(order, 2 * step + 1, options.batch);
    for (size_t i = 0; i < others.size(); ++i) updated[i] = keys[static_cast<size_t>(others[i])];  // slot of row i is i
    const RowUpdate update{
        .slots = others, .gradients = gradients, .occurrences = occurrences, .step = step, .keys = updated};
    watch.restart();
    store.update(update);
    update_ns.push_back(watch.restart() * 1e9 / static_cast<double>(options.batch));
  }
  const nlohmann::json result{{"bench", "row_update"},
                              {"optimizer", kind.optimizer},
                              {"row_type", kind.type},
                              {"rows", options.rows},
                              {"dim", options.dim},
                              {"batch", options.batch},
                              {"threads", options.threads},
                              {"device", "cpu"},
                              {"gather_ns_per_row", fast_decile(gather_ns)},
                              {"update_ns_per_row", fast_decile(update_ns)}};
  std::cout << "RESULT " << result.dump() << std::endl;
}

Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description flags;
  flags.add_options()("rows", po::value(&options.rows))("dim", po::value(&options.dim))(
      "batch", po::value(&options.batch))("steps", po::value(&options.steps))("threads", po::value(&options.threads));
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, flags), values);
  po::notify(values);
  RONDO_CHECK_LE(2 * options.batch, options.rows);
  return options;
}

}  // namespace
}  // namespace rondo

int main(int argc, char** argv) {
  try {
    const rondo::Options options = rondo::parse(argc, argv);
    rondo::set_threads(options.threads);
    for (const rondo::Kind& kind : rondo::kKinds) rondo::measure(options, kind);
  } catch (const std::exception& error) {
    std::cerr << "row_update_bench: " << error.what() << std::endl;
    return 70;
  }
  return 0;
}
