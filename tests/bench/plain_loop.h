#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace rondo::bench {

/// The ids of one table in the batches of all ranks, as bags: bag b has ids[offsets[b] .. offsets[b + 1]).
struct Bags {
  std::vector<int64_t> ids;
  std::vector<int64_t> offsets;  // [bags + 1]

  int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

enum class PlainOptimizer : uint8_t { kSgd, kRowWiseAdagrad };

struct PlainLoopOptions {
  int64_t tables = 1;
  int64_t rows = 1;  // of each table
  int64_t dim = 64;
  PlainOptimizer optimizer = PlainOptimizer::kRowWiseAdagrad;
  float learning_rate = 0.05F;
  float epsilon = 1e-8F;
};

/// What a plain program does with the same ids: flat arrays, a prefetch for each id, the distinct ids of a step told
/// by a hash table, one update a row; tables in parallel. No exchange, no store, and nothing of their code: the
/// yardstick of exchange_bench, and what it is verified against.
class PlainLoop {
 public:
  explicit PlainLoop(const PlainLoopOptions& options);
  ~PlainLoop();

  /// Writes the values [dim] of every row: `fill(table, row, values)`.
  void initialise(const std::function<void(int64_t table, int64_t row, float* values)>& fill);

  /// pooled[t] <- sums of the rows of each bag, [bags, dim]. One entry a table.
  void forward(std::span<const Bags> batch, std::span<std::vector<float>> pooled) const;

  /// Row updates for the gradients of `pooled`: each row once, with the sum over its ids.
  void backward(std::span<const Bags> batch, std::span<const std::vector<float>> gradients);

 private:
  struct Table;
  void for_each_table(const std::function<void(size_t)>& body) const;

  PlainLoopOptions options_;
  std::vector<Table> tables_;
};

}  // namespace rondo::bench
