#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sharding/embedding/row_kernels.h"
#include "sharding/embedding/row_launch.h"

// Rows, and steps on them, for the tests of the row kernels of a device.
namespace rondo {

inline constexpr int64_t kDims[] = {1, 2, 15, 16, 17, 63, 64, 65, 130};
inline constexpr RowOptimizerKind kKinds[] = {RowOptimizerKind::kSgd, RowOptimizerKind::kAdagrad,
                                              RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam,
                                              RowOptimizerKind::kRowWiseAdam};

/// In [-1, 1), by what is drawn and where it stands.
template <typename T>
std::vector<T> numbers(int64_t count, uint64_t purpose) {
  std::vector<T> drawn(static_cast<size_t>(count));
  const CounterRandom random(11, purpose, RandomPurpose::kTest);
  for (size_t i = 0; i < drawn.size(); ++i) drawn[i] = static_cast<T>(2.0 * random.uniform(3, i) - 1.0);
  return drawn;
}

template <typename V>
V as_value(double number) {
  if constexpr (sizeof(V) == sizeof(uint16_t)) {
    return nearest<V>(static_cast<float>(number));
  } else {
    return static_cast<V>(number);
  }
}

/// Records of rows in blocks of four, each block of exactly its size.
template <typename V>
class Records {
 public:
  using T = ComputeType<V>;

  Records(int64_t rows, int64_t dim, int64_t state) {
    const auto up = [](int64_t bytes) { return (bytes + 7) / 8 * 8; };
    table_.shift = 2;
    table_.state_offset = up(dim * static_cast<int64_t>(sizeof(V)));
    table_.count_offset = table_.state_offset + up(state * static_cast<int64_t>(sizeof(T)));
    table_.version_offset = table_.count_offset + 8;
    table_.record_bytes = table_.version_offset + 8;
    for (int64_t first = 0; first < rows; first += 4) {
      const auto bytes = static_cast<size_t>(std::min<int64_t>(4, rows - first) * table_.record_bytes);
      memory_.emplace_back(bytes / 8, uint64_t{0});
      blocks_.push_back(reinterpret_cast<std::byte*>(memory_.back().data()));
    }
    table_.blocks = blocks_.data();
    const auto start = numbers<double>(rows * dim, 1);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < dim; ++c) values(r)[c] = as_value<V>(start[static_cast<size_t>(r * dim + c)]);
      for (int64_t s = 0; s < state; ++s) state_of(r)[s] = T{0};
    }
  }

  const RowRecords<V>& table() const { return table_; }
  V* values(int64_t row) const { return reinterpret_cast<V*>(table_.record(row)); }
  T* state_of(int64_t row) const { return reinterpret_cast<T*>(table_.record(row) + table_.state_offset); }
  bool operator==(const Records& other) const { return memory_ == other.memory_; }
  std::vector<std::vector<uint64_t>>& memory() { return memory_; }

 private:
  RowRecords<V> table_{};
  std::vector<std::vector<uint64_t>> memory_;
  std::vector<std::byte*> blocks_;
};

/// A step on rows by the loops of the processor, as RowStore makes it.
template <typename V>
void update_as_loops(const RowUpdates<V>& work) {
  using T = ComputeType<V>;
  std::vector<T> squares(static_cast<size_t>(work.rows));
  sums_of_squares(work.gradients, work.rows, work.dim, squares.data());
  std::vector<LearningRow<V>> rows;
  for (int64_t r = 0; r < work.rows; ++r) {
    rows.push_back(learning_row(work, r, squares[static_cast<size_t>(r)]));
    touch_row(work, r);
  }
  update_rows<V>(work.step, rows, work.dim);
}

/// Step `number` of some optimizer on five of ten rows; the gradients are the caller's.
template <typename V>
struct FiveRows {
  using T = ComputeType<V>;
  std::vector<int64_t> slots{9, 2, 3, 0, 7}, occurrences{1, 4, 1, 2, 9};
  std::vector<uint64_t> keys{77, 1, 5, 1'000'003, 12};

  RowUpdates<V> step(const RowRecords<V>& table, RowOptimizerKind kind, int64_t dim, int64_t number) const {
    return {.table = table,
            .step = make_row_step<T>({.kind = kind, .learning_rate = 0.1, .weight_decay = 0.01}, number, 0.9),
            .slots = slots.data(),
            .keys = keys.data(),
            .occurrences = occurrences.data(),
            .gradients = nullptr,
            .rows = 5,
            .dim = dim,
            .number = number,
            .factor = T{1},
            .clip_norm = static_cast<T>(number == 2 ? 0.7 : 0.0),
            .count_decay = 0.01,
            .rounding = CounterRandom(5, static_cast<uint64_t>(number), RandomPurpose::kRounding)};
  }
};

}  // namespace rondo
