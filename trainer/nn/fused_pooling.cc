#include "trainer/nn/fused_ops.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sharding/base/parallel.h"
#include "trainer/nn/autograd_memory.h"
#include "trainer/nn/row_kernels.h"

namespace rondo::fused {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTextsPerRange = 16;

/// How many rows of a text count: all of them, or the first.
int64_t pooled_rows(const PackedRows& rows, int64_t text, bool all) {
  return all ? rows.length(text) : std::min<int64_t>(1, rows.length(text));
}

struct PoolContext {
  PackedRowsPtr rows;
  bool all;
};

at::Tensor forward_pool(const at::Tensor& x, const PoolContext& kept) {
  const PackedRows& rows = *kept.rows;
  const int64_t width = x.size(1);
  at::Tensor result = at::zeros({rows.texts(), width}, at::kFloat);
  const float* from = x.const_data_ptr<float>();
  float* to = result.mutable_data_ptr<float>();
  parallel_for(rows.texts(), kTextsPerRange, [&](int64_t begin, int64_t end) {
    for (int64_t text = begin; text < end; ++text) {
      const int64_t count = pooled_rows(rows, text, kept.all);
      const int64_t first = rows.offsets[static_cast<size_t>(text)];
      kernels::add_rows({.rows = from, .width = width, .out = to + text * width}, first, first + count);
      const float factor = 1.0F / static_cast<float>(std::max<int64_t>(1, count));
      for (int64_t i = 0; i < width; ++i) to[text * width + i] *= factor;
    }
  });
  return result;
}

at::Tensor pool_gradient(const at::Tensor& gradient, const PoolContext& kept) {
  const PackedRows& rows = *kept.rows;
  const int64_t width = gradient.size(1);
  at::Tensor result = at::empty({rows.rows(), width}, at::kFloat);
  const float* from = gradient.const_data_ptr<float>();
  float* to = result.mutable_data_ptr<float>();
  parallel_for(rows.texts(), kTextsPerRange, [&](int64_t begin, int64_t end) {
    for (int64_t text = begin; text < end; ++text) {
      const int64_t count = pooled_rows(rows, text, kept.all);
      const float factor = 1.0F / static_cast<float>(std::max<int64_t>(1, count));
      for (int64_t i = 0; i < rows.length(text); ++i) {
        float* row = to + (rows.offsets[static_cast<size_t>(text)] + i) * width;
        const float own = i < count ? factor : 0.0F;
        for (int64_t column = 0; column < width; ++column) row[column] = from[text * width + column] * own;
      }
    }
  });
  return result;
}

class PoolFunction : public torch::autograd::Function<PoolFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const PoolContext& kept) {
    remember(context, kept);
    return forward_pool(x, kept);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {pool_gradient(gradients[0].contiguous(), recall<PoolContext>(context)), {}};
  }
};

at::Tensor pool(const at::Tensor& x, const PoolContext& kept) {
  return wants_gradient(x) ? PoolFunction::apply(x, kept) : forward_pool(x, kept);
}

struct MaxContext {
  PackedRowsPtr rows;
  std::vector<int32_t> winners;  // [texts, width]: the row of the batch that each value is from
};

/// Fills in `winners`.
at::Tensor forward_max(const at::Tensor& x, MaxContext& kept) {
  const PackedRows& rows = *kept.rows;
  const int64_t width = x.size(1);
  at::Tensor result = at::empty({rows.texts(), width}, at::kFloat);
  kept.winners.resize(static_cast<size_t>(result.numel()));
  const float* from = x.const_data_ptr<float>();
  float* to = result.mutable_data_ptr<float>();
  parallel_for(rows.texts(), kTextsPerRange, [&](int64_t begin, int64_t end) {
    for (int64_t text = begin; text < end; ++text) {
      const int64_t first = rows.offsets[static_cast<size_t>(text)];
      float* best = to + text * width;
      int32_t* winner = kept.winners.data() + text * width;
      std::copy_n(from + first * width, width, best);
      std::fill_n(winner, width, static_cast<int32_t>(first));
      for (int64_t row = first + 1; row < first + rows.length(text); ++row) {
        for (int64_t column = 0; column < width; ++column) {
          const float value = from[row * width + column];
          winner[column] = value > best[column] ? static_cast<int32_t>(row) : winner[column];
          best[column] = value > best[column] ? value : best[column];
        }
      }
    }
  });
  return result;
}

class MaxFunction : public torch::autograd::Function<MaxFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const PackedRowsPtr& rows) {
    MaxContext kept{rows, {}};
    at::Tensor result = forward_max(x, kept);
    remember(context, std::move(kept));
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const MaxContext kept = recall<MaxContext>(context);
    const at::Tensor gradient = gradients[0].contiguous();
    const int64_t width = gradient.size(1);
    at::Tensor result = at::zeros({kept.rows->rows(), width}, at::kFloat);
    const float* from = gradient.const_data_ptr<float>();
    float* to = result.mutable_data_ptr<float>();
    for (int64_t i = 0; i < gradient.numel(); ++i) {
      to[kept.winners[static_cast<size_t>(i)] * width + i % width] = from[i];
    }
    return {result, {}};
  }
};

}  // namespace

at::Tensor pool_max(const at::Tensor& x, const PackedRowsPtr& rows) {
  if (wants_gradient(x)) return MaxFunction::apply(x, rows);
  MaxContext kept{rows, {}};
  return forward_max(x, kept);
}

at::Tensor pool_mean(const at::Tensor& x, const PackedRowsPtr& rows) { return pool(x, {rows, true}); }

at::Tensor pool_first(const at::Tensor& x, const PackedRowsPtr& rows) { return pool(x, {rows, false}); }

}  // namespace rondo::fused
