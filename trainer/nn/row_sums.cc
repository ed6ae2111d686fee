#include "trainer/nn/row_sums.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "sharding/base/parallel.h"
#include "trainer/nn/row_kernels.h"

namespace rondo {

at::Tensor RangeSums::total() const {
  at::Tensor result = at::zeros({width_}, at::kFloat);
  kernels::add_rows({.rows = sums_.data(), .width = width_, .out = result.mutable_data_ptr<float>()}, 0, ranges_);
  return result;
}

at::Tensor column_sum(const at::Tensor& x) {
  if (x.scalar_type() != at::kFloat || !x.is_cpu()) return x.sum(0);
  const at::Tensor rows = x.contiguous();
  RangeSums sums(rows.size(0), rows.size(1));
  parallel_for(rows.size(0), kRowsPerRange, [&](int64_t begin, int64_t end) {
    kernels::add_rows({.rows = rows.const_data_ptr<float>(), .width = rows.size(1), .out = sums.line(begin)}, begin,
                      end);
  });
  return sums.total();
}

at::Tensor sum_by_entry(const at::Tensor& x, const std::vector<int32_t>& entry, int64_t entries) {
  // Counting sort: starts[e] .. starts[e + 1] are entry e's rows in `order`.
  std::vector<int32_t> starts(static_cast<size_t>(entries) + 1), order(entry.size());
  for (const int32_t e : entry) ++starts[static_cast<size_t>(e) + 1];
  for (size_t e = 0; e < static_cast<size_t>(entries); ++e) starts[e + 1] += starts[e];
  std::vector<int32_t> next(starts.begin(), starts.end() - 1);
  for (size_t row = 0; row < entry.size(); ++row) {
    order[static_cast<size_t>(next[static_cast<size_t>(entry[row])]++)] = static_cast<int32_t>(row);
  }
  const int64_t width = x.size(1);
  at::Tensor result = at::empty({entries, width}, at::kFloat);
  float* out = result.mutable_data_ptr<float>();
  const float* rows = x.const_data_ptr<float>();
  constexpr int64_t kEntriesPerRange = 128;
  parallel_for(entries, kEntriesPerRange, [&](int64_t begin, int64_t end) {
    std::fill(out + begin * width, out + end * width, 0.0F);
    for (int64_t e = begin; e < end; ++e) {
      kernels::add_rows({.rows = rows, .order = order.data(), .width = width, .out = out + e * width},
                        starts[static_cast<size_t>(e)], starts[static_cast<size_t>(e) + 1]);
    }
  });
  return result;
}

}  // namespace rondo
