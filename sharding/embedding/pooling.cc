#include "sharding/embedding/pooling.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/row_kernels.h"

namespace rondo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kBagGrain = 64;
constexpr int64_t kRowGrain = 128;
constexpr int64_t kEntryGrain = 1024;

/// The entries i of a bag list, grouped by what they point to: target t has entries[starts[t] .. starts[t + 1]), in
/// ascending order.
struct Grouped {
  std::vector<int64_t> starts;   // [targets + 1]
  std::vector<int64_t> entries;  // [n]
};

Grouped group_by_target(const int64_t* targets, int64_t n, int64_t count) {
  Grouped grouped{std::vector<int64_t>(static_cast<size_t>(count + 1)), std::vector<int64_t>(static_cast<size_t>(n))};
  for (int64_t i = 0; i < n; ++i) ++grouped.starts[static_cast<size_t>(targets[i] + 1)];
  std::partial_sum(grouped.starts.begin(), grouped.starts.end(), grouped.starts.begin());
  std::vector<int64_t> next(grouped.starts.begin(), grouped.starts.end() - 1);
  for (int64_t i = 0; i < n; ++i) grouped.entries[static_cast<size_t>(next[static_cast<size_t>(targets[i])]++)] = i;
  return grouped;
}

std::vector<int64_t> bags_of_entries(const at::Tensor& offsets) {
  const int64_t* const offset = offsets.const_data_ptr<int64_t>();
  const int64_t bags = offsets.size(0) - 1;
  std::vector<int64_t> bag_of(static_cast<size_t>(offset[bags]));
  for (int64_t b = 0; b < bags; ++b) std::fill(bag_of.begin() + offset[b], bag_of.begin() + offset[b + 1], b);
  return bag_of;
}

void check_bags(const at::Tensor& positions, const at::Tensor& offsets, int64_t rows) {
  RONDO_CHECK(positions.scalar_type() == at::kLong && positions.is_contiguous() && positions.dim() == 1);
  RONDO_CHECK(offsets.scalar_type() == at::kLong && offsets.is_contiguous() && offsets.dim() == 1);
  const int64_t n = positions.size(0), bags = offsets.size(0) - 1;
  RONDO_CHECK_GE(bags, 0);
  const int64_t* const offset = offsets.const_data_ptr<int64_t>();
  RONDO_CHECK(offset[0] == 0 && offset[bags] == n, "offsets [", offset[0], ", ", offset[bags], "] of ", n, " entries");
  for (int64_t b = 0; b < bags; ++b) RONDO_CHECK_LE(offset[b], offset[b + 1], "bag ", b);
  const int64_t* const position = positions.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    RONDO_CHECK(position[i] >= 0 && position[i] < rows, "position ", position[i], " of ", rows, " rows");
  }
}

template <typename T>
at::Tensor pool(const at::Tensor& rows, const at::Tensor& positions, const at::Tensor& offsets,
                const at::Tensor& weights) {
  const int64_t bags = offsets.size(0) - 1, dim = rows.size(1);
  at::Tensor pooled = at::empty({bags, dim}, rows.options());
  T* const out = pooled.mutable_data_ptr<T>();
  const int64_t* const offset = offsets.const_data_ptr<int64_t>();
  const int64_t* const position = positions.const_data_ptr<int64_t>();
  const T* const from = rows.const_data_ptr<T>();
  const T* const weight = weights.defined() ? weights.const_data_ptr<T>() : nullptr;
  parallel_for(bags, kBagGrain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = offset[b];
      weighted_sum<T>({.rows = from,
                       .positions = position + first,
                       .weights = weight == nullptr ? nullptr : weight + first,
                       .count = offset[b + 1] - first,
                       .dim = dim},
                      out + b * dim);
    }
  });
  return pooled;
}

/// d rows[p] = sum over the entries i of p, ascending, of weights[i] * d pooled[bag of i].
template <typename T>
at::Tensor row_gradient(const at::Tensor& pooled_gradient, const at::Tensor& positions, const at::Tensor& offsets,
                        const at::Tensor& weights, int64_t rows) {
  const int64_t n = positions.size(0), dim = pooled_gradient.size(1);
  const Grouped grouped = group_by_target(positions.const_data_ptr<int64_t>(), n, rows);
  const std::vector<int64_t> bag_of = bags_of_entries(offsets);
  std::vector<int64_t> bags(static_cast<size_t>(n));
  std::vector<T> scale(weights.defined() ? static_cast<size_t>(n) : 0);
  const T* const weight = weights.defined() ? weights.const_data_ptr<T>() : nullptr;
  for (size_t i = 0; i < bags.size(); ++i) {
    const auto entry = static_cast<size_t>(grouped.entries[i]);
    bags[i] = bag_of[entry];
    if (weight != nullptr) scale[i] = weight[entry];
  }
  at::Tensor gradient = at::empty({rows, dim}, pooled_gradient.options());
  T* const out = gradient.mutable_data_ptr<T>();
  const T* const from = pooled_gradient.const_data_ptr<T>();
  parallel_for(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t first = grouped.starts[static_cast<size_t>(r)];
      weighted_sum<T>({.rows = from,
                       .positions = bags.data() + first,
                       .weights = weight == nullptr ? nullptr : scale.data() + first,
                       .count = grouped.starts[static_cast<size_t>(r + 1)] - first,
                       .dim = dim},
                      out + r * dim);
    }
  });
  return gradient;
}

template <typename T>
at::Tensor weight_gradient(const at::Tensor& pooled_gradient, const at::Tensor& rows, const at::Tensor& positions,
                           const at::Tensor& offsets) {
  const int64_t n = positions.size(0), dim = rows.size(1);
  at::Tensor gradient = at::empty({n}, rows.options());
  T* const out = gradient.mutable_data_ptr<T>();
  const std::vector<int64_t> bag_of = bags_of_entries(offsets);
  const int64_t* const position = positions.const_data_ptr<int64_t>();
  const T* const from = rows.const_data_ptr<T>();
  const T* const pooled = pooled_gradient.const_data_ptr<T>();
  parallel_for(n, kEntryGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      out[i] = dot(pooled + bag_of[static_cast<size_t>(i)] * dim, from + position[i] * dim, dim);
    }
  });
  return gradient;
}

class PoolRows : public torch::autograd::Function<PoolRows> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& rows, const at::Tensor& positions,
                            const at::Tensor& offsets, const std::optional<at::Tensor>& weights) {
    const at::Tensor from = rows.contiguous();
    const at::Tensor scale = weights ? weights->contiguous() : at::Tensor();
    ctx->save_for_backward({from, positions, offsets, scale});
    return from.scalar_type() == at::kDouble ? pool<double>(from, positions, offsets, scale)
                                             : pool<float>(from, positions, offsets, scale);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &rows = saved[0], &positions = saved[1], &offsets = saved[2], &weights = saved[3];
    const at::Tensor pooled = gradients[0].contiguous();
    const bool wide = rows.scalar_type() == at::kDouble;
    at::Tensor of_rows, of_weights;
    if (ctx->needs_input_grad(0)) {
      const int64_t count = rows.size(0);
      of_rows = wide ? row_gradient<double>(pooled, positions, offsets, weights, count)
                     : row_gradient<float>(pooled, positions, offsets, weights, count);
    }
    if (weights.defined() && ctx->needs_input_grad(3)) {
      of_weights = wide ? weight_gradient<double>(pooled, rows, positions, offsets)
                        : weight_gradient<float>(pooled, rows, positions, offsets);
    }
    return {of_rows, at::Tensor(), at::Tensor(), of_weights};
  }
};

}  // namespace

at::Tensor pool_rows(const at::Tensor& rows, const at::Tensor& positions, const at::Tensor& offsets,
                     const at::Tensor& weights) {
  RONDO_CHECK(rows.dim() == 2 && (rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kDouble));
  RONDO_CHECK(!weights.defined() || (weights.scalar_type() == rows.scalar_type() && weights.dim() == 1 &&
                                     weights.size(0) == positions.size(0)));
  check_bags(positions, offsets, rows.size(0));
  return PoolRows::apply(rows, positions, offsets, weights.defined() ? std::optional(weights) : std::nullopt);
}

at::Tensor sum_bags(const at::Tensor& rows, const at::Tensor& positions, const at::Tensor& offsets,
                    const at::Tensor& weights) {
  check_bags(positions, offsets, rows.size(0));
  return rows.scalar_type() == at::kDouble ? pool<double>(rows, positions, offsets, weights)
                                           : pool<float>(rows, positions, offsets, weights);
}

at::Tensor bag_row_gradient(const at::Tensor& bag_gradient, const at::Tensor& positions, const at::Tensor& offsets,
                            const at::Tensor& weights, int64_t rows) {
  check_bags(positions, offsets, rows);
  return bag_gradient.scalar_type() == at::kDouble
             ? row_gradient<double>(bag_gradient, positions, offsets, weights, rows)
             : row_gradient<float>(bag_gradient, positions, offsets, weights, rows);
}

at::Tensor mean_weights(const at::Tensor& offsets, const at::Tensor& like) {
  const int64_t bags = offsets.size(0) - 1;
  const int64_t* const offset = offsets.const_data_ptr<int64_t>();
  at::Tensor weights = at::empty({offset[bags]}, like.options().requires_grad(false));
  const auto fill = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    for (int64_t b = 0; b < bags; ++b) {
      if (offset[b + 1] == offset[b]) continue;
      std::fill(out + offset[b], out + offset[b + 1], T{1} / static_cast<T>(offset[b + 1] - offset[b]));
    }
  };
  like.scalar_type() == at::kDouble ? fill(weights.mutable_data_ptr<double>())
                                    : fill(weights.mutable_data_ptr<float>());
  return weights;
}

}  // namespace rondo
