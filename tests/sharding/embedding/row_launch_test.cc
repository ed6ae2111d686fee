// What the lanes of a device kernel do, on the host: every index that launches of awkward sizes touch (memory is as
// large as it has to be, for AddressSanitizer), and the values bit for bit those of the loops of the processor.
#include "sharding/embedding/row_launch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "sharding/embedding/row_kernels.h"
#include "tests/sharding/embedding/row_records.h"

namespace rondo {
namespace {

struct Shape {
  int64_t blocks;
  int64_t block_threads;
};
constexpr Shape kShapes[] = {{1, 32}, {1, 256}, {3, 96}, {7, 64}, {40, 256}};

/// Runs `lane` for every thread of a launch, the last one first: no thread may need another to have gone before.
template <typename Lane>
void for_each_thread(Shape shape, const Lane& lane) {
  for (int64_t block = shape.blocks; block-- > 0;) {
    for (int64_t thread = shape.block_threads; thread-- > 0;) lane(block, thread);
  }
}

template <typename V>
class RowLaunchTest : public ::testing::Test {};
using ValueTypes = ::testing::Types<float, double, Float16, BFloat16>;
TYPED_TEST_SUITE(RowLaunchTest, ValueTypes);

TYPED_TEST(RowLaunchTest, LookupCopiesEveryRow) {
  using T = ComputeType<TypeParam>;
  const std::vector<int64_t> slots{10, 0, 3, 4, 10, 9, 7};
  for (const int64_t dim : kDims) {
    const Records<TypeParam> records(11, dim, 0);
    for (const Shape shape : kShapes) {
      std::vector<T> out(slots.size() * static_cast<size_t>(dim), T{-9});
      const Lookup<TypeParam> work{records.table(), slots.data(), static_cast<int64_t>(slots.size()), dim, out.data()};
      for_each_thread(shape, [&](int64_t block, int64_t thread) {
        lookup_rows(work, lane_group(block, shape.blocks, thread, shape.block_threads));
      });
      for (size_t i = 0; i < out.size(); ++i) {
        const auto row = static_cast<int64_t>(i) / dim;
        ASSERT_EQ(out[i], widen(records.values(slots[static_cast<size_t>(row)])[static_cast<int64_t>(i) % dim]));
      }
    }
  }
}

/// The steps of update_kernel: each lane's partial sum, their join, the rate, each lane's columns.
template <typename V>
void update_as_lanes(const RowUpdates<V>& work, Shape shape) {
  for (int64_t block = 0; block < shape.blocks; ++block) {
    for (int64_t first = 0; first < shape.block_threads; first += kRowLanes) {
      const LaneGroup group = lane_group(block, shape.blocks, first, shape.block_threads);
      ASSERT_EQ(group.lane, 0);
      for (int64_t row = group.index; row < work.rows; row += group.count) {
        ComputeType<V> sums[kRowLanes];
        for (int64_t lane = 0; lane < kRowLanes; ++lane) sums[lane] = square_of_lane(work, row, lane);
        const LearningRow<V> learning = learning_row(work, row, join_partial_sums(sums));
        const auto rate = row_rate(work.step, learning, work.dim);
        touch_row(work, row);
        for (int64_t lane = kRowLanes; lane-- > 0;) {
          update_columns(work.step, learning, rate, work.dim, {lane, kRowLanes});
        }
      }
    }
  }
}

template <typename V>
void compare_updates(RowOptimizerKind kind, int64_t dim, Shape shape) {
  using T = ComputeType<V>;
  const FiveRows<V> rows;
  Records<V> lanes(10, dim, state_width(kind, dim)), loops(10, dim, state_width(kind, dim));
  for (int64_t step = 1; step <= 3; ++step) {
    const std::vector<T> gradients = numbers<T>(5 * dim, static_cast<uint64_t>(step));
    RowUpdates<V> work = rows.step(lanes.table(), kind, dim, step);
    work.gradients = gradients.data();
    update_as_lanes(work, shape);
    work.table = loops.table();
    update_as_loops(work);
  }
  EXPECT_TRUE(lanes == loops) << "optimizer " << static_cast<int>(kind) << ", dim " << dim;
  EXPECT_FALSE(lanes == Records<V>(10, dim, state_width(kind, dim))) << "nothing was learnt";
}

TYPED_TEST(RowLaunchTest, UpdatesAreThoseOfTheProcessorBitForBit) {
  for (const int64_t dim : kDims) {
    for (const RowOptimizerKind kind : kKinds) {
      for (const Shape shape : kShapes) compare_updates<TypeParam>(kind, dim, shape);
    }
  }
}

/// Bags of positions, some empty, one long.
struct Bags {
  std::vector<int64_t> offsets{0, 0, 3, 3, 50, 51, 51};
  std::vector<int64_t> positions;
  explicit Bags(int64_t rows) {
    for (int64_t i = 0; i < offsets.back(); ++i) positions.push_back(i * i % 7 % rows);
  }
  int64_t count() const { return offsets.back(); }
  int64_t bags() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

template <typename T>
std::vector<T> summed(const SegmentSums<T>& given, Shape shape) {
  SegmentSums<T> work = given;
  std::vector<T> out(static_cast<size_t>(work.sums * work.dim), T{-9});
  work.out = out.data();
  for_each_thread(shape, [&](int64_t block, int64_t thread) {
    sum_segments(work, lane_group(block, shape.blocks, thread, shape.block_threads));
  });
  return out;
}

template <typename T>
std::vector<T> summed_by_loops(const SegmentSums<T>& work) {
  std::vector<T> out(static_cast<size_t>(work.sums * work.dim));
  for (int64_t s = 0; s < work.sums; ++s) {
    const int64_t first = work.starts[s];
    weighted_sum<T>({.rows = work.rows,
                     .positions = work.positions + first,
                     .weights = work.weights == nullptr ? nullptr : work.weights + first,
                     .count = work.starts[s + 1] - first,
                     .dim = work.dim},
                    out.data() + s * work.dim);
  }
  return out;
}

template <typename T>
class SegmentTest : public ::testing::Test {};
using SumTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SegmentTest, SumTypes);

TYPED_TEST(SegmentTest, PoolingIsThatOfTheProcessorBitForBit) {
  using T = TypeParam;
  const Bags bags(7);
  for (const int64_t dim : kDims) {
    const auto rows = numbers<T>(7 * dim, 2), weights = numbers<T>(bags.count(), 3);
    for (const bool weighted : {false, true}) {
      const SegmentSums<T> work{rows.data(),
                                bags.offsets.data(),
                                bags.positions.data(),
                                weighted ? weights.data() : nullptr,
                                bags.bags(),
                                dim,
                                nullptr};
      const auto expected = summed_by_loops(work);
      for (const Shape shape : kShapes) ASSERT_EQ(summed(work, shape), expected) << "dim " << dim;
    }
  }
}

/// Coalescing: entries sorted by row, where each row's begin, where their gradients come from, sums.
template <typename T>
std::vector<T> row_gradient(const Bags& bags, const std::vector<T>& bag_gradient, const std::vector<T>* weights,
                            int64_t rows, int64_t dim, Shape shape) {
  std::vector<int64_t> entries(bags.positions.size());
  std::iota(entries.begin(), entries.end(), 0);
  const auto by_row = [&](int64_t a, int64_t b) {
    return bags.positions[static_cast<size_t>(a)] < bags.positions[static_cast<size_t>(b)];
  };
  std::stable_sort(entries.begin(), entries.end(), by_row);  // as the radix sort of the device
  std::vector<int64_t> targets, starts(static_cast<size_t>(rows) + 1, -1), bag_of(entries.size(), -1);
  for (const int64_t entry : entries) targets.push_back(bags.positions[static_cast<size_t>(entry)]);
  std::vector<T> sorted_weights(weights != nullptr ? entries.size() : 0);
  const SegmentStarts find{targets.data(), bags.count(), rows, starts.data()};
  const EntrySources<T> sources{
      entries.data(), bags.offsets.data(),  weights != nullptr ? weights->data() : nullptr, bags.count(), bags.bags(),
      bag_of.data(),  sorted_weights.data()};
  for_each_thread(shape, [&](int64_t block, int64_t thread) {
    const int64_t worker = block * shape.block_threads + thread, workers = shape.blocks * shape.block_threads;
    find_starts(find, worker, workers);
    find_sources(sources, worker, workers);
  });
  return summed<T>({bag_gradient.data(), starts.data(), bag_of.data(),
                    weights != nullptr ? sorted_weights.data() : nullptr, rows, dim, nullptr},
                   shape);
}

TYPED_TEST(SegmentTest, CoalescingAddsInTheOrderOfTheEntries) {
  using T = TypeParam;
  constexpr int64_t kRows = 9;  // some are in no bag
  const Bags bags(kRows);
  for (const int64_t dim : kDims) {
    const auto gradient = numbers<T>(bags.bags() * dim, 4), weights = numbers<T>(bags.count(), 5);
    for (const bool weighted : {false, true}) {
      std::vector<T> expected(static_cast<size_t>(kRows * dim), T{0});
      for (int64_t b = 0; b < bags.bags(); ++b) {
        for (int64_t i = bags.offsets[static_cast<size_t>(b)]; i < bags.offsets[static_cast<size_t>(b) + 1]; ++i) {
          const auto entry = static_cast<size_t>(i);
          for (int64_t c = 0; c < dim; ++c) {
            T& sum = expected[static_cast<size_t>(bags.positions[entry] * dim + c)];
            sum = std::fma(weighted ? weights[entry] : T{1}, gradient[static_cast<size_t>(b * dim + c)], sum);
          }
        }
      }
      for (const Shape shape : kShapes) {
        ASSERT_EQ(row_gradient(bags, gradient, weighted ? &weights : nullptr, kRows, dim, shape), expected) << dim;
      }
    }
  }
}

TEST(EmptySegmentTest, NothingToDoTouchesNothing) {
  std::vector<int64_t> starts(1, -1);
  const SegmentStarts find{nullptr, 0, 0, starts.data()};
  const std::vector<int64_t> offsets{0};
  for_each_thread({2, 32}, [&](int64_t block, int64_t thread) {
    find_starts(find, block * 32 + thread, 64);
    find_sources(EntrySources<float>{nullptr, offsets.data(), nullptr, 0, 0, nullptr, nullptr}, block * 32 + thread,
                 64);
    sum_segments(SegmentSums<float>{nullptr, offsets.data(), nullptr, nullptr, 0, 8, nullptr},
                 lane_group(block, 2, thread, 32));
  });
  EXPECT_EQ(starts[0], 0);
}

}  // namespace
}  // namespace rondo
