#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace rondo {

/// Rows that one range of a parallel loop over packed rows has: the unit of partial sums, whose order fixes the result.
inline constexpr int64_t kRowsPerRange = 64;

/// Partial sums [ranges, width] of a loop over rows, one line a range.
class RangeSums {
 public:
  RangeSums(int64_t rows, int64_t width)
      : ranges_((rows + kRowsPerRange - 1) / kRowsPerRange),
        width_(width),
        sums_(static_cast<size_t>(ranges_ * width)) {}

  /// The line of the range that begins at `row`.
  float* line(int64_t row) { return sums_.data() + row / kRowsPerRange * width_; }

  /// Sum of the lines, in order: [width], fp32.
  at::Tensor total() const;

 private:
  int64_t ranges_;
  int64_t width_;
  std::vector<float> sums_;
};

/// Sum over rows of x [rows, width]; fp32 on the CPU in a fixed order.
at::Tensor column_sum(const at::Tensor& x);

/// Row e of the result [entries, width] is the sum, in order, of the rows r of x (fp32) with entry[r] == e.
at::Tensor sum_by_entry(const at::Tensor& x, const std::vector<int32_t>& entry, int64_t entries);

}  // namespace rondo
