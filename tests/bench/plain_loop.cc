#include "tests/bench/plain_loop.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"

namespace rondo::bench {
namespace {

constexpr int64_t kAhead = 16;  // ids whose rows are fetched while earlier ones are added
constexpr size_t kHugePage = 2 << 20;

// Compiled for what processors have; the loops over columns become vectors.
#define RONDO_FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};
using Array = std::unique_ptr<float, Free>;

Array make_array(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
  Array array(static_cast<float*>(std::aligned_alloc(kHugePage, bytes)));
  madvise(array.get(), bytes, MADV_HUGEPAGE);
  return array;
}

inline void fetch(const float* row, int64_t dim) {
  for (int64_t c = 0; c < dim; c += 16) __builtin_prefetch(row + c);
}

/// out [bags, dim]
RONDO_FOR_EACH_PROCESSOR
void pool_bags(const float* rows, int64_t dim, const Bags& bags, float* __restrict out) {
  const int64_t* const ids = bags.ids.data();
  const auto end = static_cast<int64_t>(bags.ids.size());
  for (int64_t b = 0; b < bags.count(); ++b) {
    float* __restrict const sum = out + b * dim;
    std::fill_n(sum, dim, 0.0F);
    for (int64_t i = bags.offsets[static_cast<size_t>(b)]; i < bags.offsets[static_cast<size_t>(b + 1)]; ++i) {
      fetch(rows + ids[std::min(i + kAhead, end - 1)] * dim, dim);
      const float* const row = rows + ids[i] * dim;
      for (int64_t c = 0; c < dim; ++c) sum[c] += row[c];
    }
  }
}

/// sum[c] <- over the bags of one row.
RONDO_FOR_EACH_PROCESSOR
void sum_gradients(const float* gradients, int64_t dim, std::span<const int64_t> bags, float* __restrict sum) {
  std::fill_n(sum, dim, 0.0F);
  for (const int64_t bag : bags) {
    const float* const gradient = gradients + bag * dim;
    for (int64_t c = 0; c < dim; ++c) sum[c] += gradient[c];
  }
}

RONDO_FOR_EACH_PROCESSOR
void move_row(float* __restrict row, const float* __restrict gradient, int64_t dim, float rate) {
  for (int64_t c = 0; c < dim; ++c) row[c] -= rate * gradient[c];
}

RONDO_FOR_EACH_PROCESSOR
float mean_square(const float* gradient, int64_t dim) {
  float partial[16] = {};
  for (int64_t c = 0; c < dim; ++c) partial[c % 16] += gradient[c] * gradient[c];
  float sum = 0.0F;
  for (const float part : partial) sum += part;
  return sum / static_cast<float>(dim);
}

/// The distinct ids of a step and the bags of each.
class Distinct {
 public:
  void group(const Bags& bags) {
    const size_t n = bags.ids.size();
    prepare(n);
    places_.resize(n);
    for (size_t i = 0; i < n; ++i) {
      __builtin_prefetch(&cells_[hash(bags.ids[std::min(i + kAhead, n - 1)])], 1);
      size_t at = hash(bags.ids[i]);
      while (cells_[at].id >= 0 && cells_[at].id != bags.ids[i]) at = (at + 1) & mask_;
      if (cells_[at].id < 0) {
        cells_[at] = {bags.ids[i], static_cast<int64_t>(ids_.size())};
        ids_.push_back(bags.ids[i]);
        starts_.push_back(0);
      }
      places_[i] = cells_[at].place;
      ++starts_[static_cast<size_t>(places_[i])];
    }
    sort_bags(bags);
  }

  std::span<const int64_t> ids() const { return ids_; }
  std::span<const int64_t> bags_of(size_t place) const {
    const auto first = static_cast<size_t>(place == 0 ? 0 : starts_[place - 1]);
    return std::span(bags_).subspan(first, static_cast<size_t>(starts_[place]) - first);
  }

 private:
  struct Cell {
    int64_t id, place;
  };

  size_t hash(int64_t id) const { return mix64(static_cast<uint64_t>(id)) & mask_; }

  void prepare(size_t n) {
    cells_.assign(std::bit_ceil(std::max<size_t>(2 * n, 2)), {-1, 0});
    mask_ = cells_.size() - 1;
    ids_.clear();
    starts_.clear();
  }

  /// starts_[place] <- where the bags of the next place start.
  void sort_bags(const Bags& bags) {
    int64_t total = 0;
    for (int64_t& start : starts_) {
      const int64_t count = start;
      start = total;
      total += count;
    }
    bags_.resize(bags.ids.size());
    for (int64_t b = 0; b < bags.count(); ++b) {
      for (auto i = static_cast<size_t>(bags.offsets[static_cast<size_t>(b)]);
           i < static_cast<size_t>(bags.offsets[static_cast<size_t>(b + 1)]); ++i) {
        bags_[static_cast<size_t>(starts_[static_cast<size_t>(places_[i])]++)] = b;
      }
    }
  }

  std::vector<Cell> cells_;
  size_t mask_ = 0;
  std::vector<int64_t> ids_, places_, starts_, bags_;
};

}  // namespace

struct PlainLoop::Table {
  Array values;  // [rows, dim]
  Array state;   // [rows]
  Distinct distinct;

  void update(const Bags& bags, const float* gradients, const PlainLoopOptions& options);
};

void PlainLoop::Table::update(const Bags& bags, const float* gradients, const PlainLoopOptions& options) {
  const int64_t dim = options.dim;
  distinct.group(bags);
  const std::span<const int64_t> ids = distinct.ids();
  std::vector<float> sum(static_cast<size_t>(dim));
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t ahead = ids[std::min(i + static_cast<size_t>(kAhead), ids.size() - 1)];
    fetch(values.get() + ahead * dim, dim);
    __builtin_prefetch(state.get() + ahead, 1);
    sum_gradients(gradients, dim, distinct.bags_of(i), sum.data());
    float rate = options.learning_rate;
    if (options.optimizer == PlainOptimizer::kRowWiseAdagrad) {
      float& accumulator = state.get()[ids[i]];
      accumulator += mean_square(sum.data(), dim);
      rate /= std::sqrt(accumulator) + options.epsilon;
    }
    move_row(values.get() + ids[i] * dim, sum.data(), dim, rate);
  }
}

PlainLoop::PlainLoop(const PlainLoopOptions& options) : options_(options) {
  for (int64_t t = 0; t < options.tables; ++t) {
    tables_.push_back({make_array(options.rows * options.dim), make_array(options.rows), {}});
    std::fill_n(tables_.back().state.get(), options.rows, 0.0F);
  }
}

PlainLoop::~PlainLoop() = default;

void PlainLoop::for_each_table(const std::function<void(size_t)>& body) const {
  parallel_for(static_cast<int64_t>(tables_.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(static_cast<size_t>(t));
  });
}

void PlainLoop::initialise(const std::function<void(int64_t, int64_t, float*)>& fill) {
  for_each_table([&](size_t t) {
    float* const values = tables_[t].values.get();
    for (int64_t row = 0; row < options_.rows; ++row) fill(static_cast<int64_t>(t), row, values + row * options_.dim);
  });
}

void PlainLoop::forward(std::span<const Bags> batch, std::span<std::vector<float>> pooled) const {
  for_each_table([&](size_t t) {
    pooled[t].resize(static_cast<size_t>(batch[t].count() * options_.dim));
    pool_bags(tables_[t].values.get(), options_.dim, batch[t], pooled[t].data());
  });
}

void PlainLoop::backward(std::span<const Bags> batch, std::span<const std::vector<float>> gradients) {
  for_each_table([&](size_t t) { tables_[t].update(batch[t], gradients[t].data(), options_); });
}

}  // namespace rondo::bench
