#pragma once

#include <ATen/core/Tensor.h>

namespace rondo {

/// Weighted sum of rows into bags, differentiable in `rows` and `weights`:
/// out[b] = sum over i in [offsets[b], offsets[b+1]) of weights[i] * rows[positions[i]].
///
/// `rows` [distinct, dim]; `positions` int64 [n]; `offsets` int64 [bags + 1]; `weights` [n] of the type of rows, or
/// undefined for ones. Result [bags, dim]; an empty bag is zero. Row gradients are added in the order of `positions`,
/// whatever the number of threads. Mean pooling: weights 1 / bag size (`mean_weights`).
at::Tensor pool_rows(const at::Tensor& rows, const at::Tensor& positions, const at::Tensor& offsets,
                     const at::Tensor& weights);

/// The two directions alone, without autograd: the bags, and the gradient [rows, dim] of the rows from that of the
/// bags.
at::Tensor sum_bags(const at::Tensor& rows, const at::Tensor& positions, const at::Tensor& offsets,
                    const at::Tensor& weights);
at::Tensor bag_row_gradient(const at::Tensor& bag_gradient, const at::Tensor& positions, const at::Tensor& offsets,
                            const at::Tensor& weights, int64_t rows);

/// 1 / size of its bag for each of the n entries of `offsets`; of `like`'s dtype.
at::Tensor mean_weights(const at::Tensor& offsets, const at::Tensor& like);

}  // namespace rondo
