#include "trainer/model/in_batch_softmax.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/exchange/gather_vectors.h"

namespace rondo {
namespace {

struct GlobalBatch {
  at::Tensor keys;           // int64 [G]
  at::Tensor probabilities;  // float32 [G]
  double weight_sum = 0.0;
  int64_t first = 0;  // column of this rank's first example
};

GlobalBatch gather_batch(Communicator& comm, const LossInput& input, const Batch& batch) {
  const auto sizes = input.rank_sizes;
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  GlobalBatch global;
  global.keys = at::empty({total}, at::kLong);
  global.probabilities = at::empty({total}, at::kFloat);
  at::Tensor weight_sum = at::zeros({1}, at::kDouble);
  for (const float weight : batch.weights) weight_sum.data_ptr<double>()[0] += weight;
  auto keys = comm.all_gather(input.target_keys, global.keys, sizes, {Channel::kBackward, "target keys"});
  auto counts =
      comm.all_gather(input.probabilities, global.probabilities, sizes, {Channel::kBackward, "target probabilities"});
  auto weights = comm.all_reduce(weight_sum, {Channel::kBackward, "sum of example weights"});
  keys->wait();
  counts->wait();
  weights->wait();
  global.weight_sum = weight_sum.data_ptr<double>()[0];
  global.first = std::accumulate(sizes.begin(), sizes.begin() + comm.rank(), int64_t{0});
  return global;
}

/// Columns of the global batch by item: which of them hold a given key.
class ColumnsByKey {
 public:
  explicit ColumnsByKey(const at::Tensor& keys) {
    const auto* values = keys.data_ptr<int64_t>();
    for (int64_t column = 0; column < keys.size(0); ++column) {
      entries_.emplace_back(static_cast<uint64_t>(values[column]), column);
    }
    std::sort(entries_.begin(), entries_.end());
  }

  /// Sets out[column] to `value` in every column of `key`.
  void fill(uint64_t key, float value, float* out) const {
    auto entry = std::lower_bound(entries_.begin(), entries_.end(), std::pair<uint64_t, int64_t>(key, 0));
    for (; entry != entries_.end() && entry->first == key; ++entry) out[entry->second] = value;
  }

 private:
  std::vector<std::pair<uint64_t, int64_t>> entries_;  // ascending
};

/// Minus infinity where a column is no negative of a row, zero elsewhere; [b, G].
at::Tensor negatives_mask(const GlobalBatch& global, const Batch& batch, std::span<const uint64_t> positive_keys,
                          const SoftmaxLossOptions& options, at::ScalarType dtype) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  const ColumnsByKey columns(global.keys);
  const int64_t width = global.keys.size(0);
  at::Tensor mask = at::zeros({batch.size(), width}, at::kFloat);
  for (int64_t row = 0; row < batch.size(); ++row) {
    const int64_t own = global.first + row;
    const auto own_key = static_cast<uint64_t>(global.keys.data_ptr<int64_t>()[own]);
    float* out = mask.data_ptr<float>() + row * width;
    if (options.mask_positives) {
      const auto begin = batch.positive_offsets[static_cast<size_t>(row)];
      const auto end = batch.positive_offsets[static_cast<size_t>(row) + 1];
      for (int64_t i = begin; i < end; ++i) columns.fill(positive_keys[static_cast<size_t>(i)], kMasked, out);
    }
    columns.fill(own_key, options.mask_duplicates ? kMasked : 0.0F, out);
    out[own] = 0.0F;
  }
  return mask.to(dtype);
}

at::Tensor row_weights(const Batch& batch, double weight_sum, at::ScalarType dtype) {
  at::Tensor weights = at::empty({batch.size()}, at::kDouble);
  for (int64_t row = 0; row < batch.size(); ++row) {
    weights.data_ptr<double>()[row] = batch.weights[static_cast<size_t>(row)] / weight_sum;
  }
  return weights.to(dtype);
}

}  // namespace

at::Tensor in_batch_softmax(Communicator& comm, const LossInput& input, const Batch& batch,
                            std::span<const uint64_t> positive_keys, const ModelOptions& options) {
  RONDO_CHECK_EQ(input.users.size(0), batch.size(), "users on rank ", comm.rank());
  RONDO_CHECK_EQ(static_cast<int64_t>(positive_keys.size()), batch.positive_offsets.back());
  const GlobalBatch global = gather_batch(comm, input, batch);
  const at::Tensor items = gather_vectors(comm, input.items, input.rank_sizes);  // [G, dim]

  at::Tensor logits = input.users.matmul(items.t()) / options.interaction.temperature;  // [b, G]
  if (options.loss.logq) {
    logits = logits - global.probabilities.to(options.dtype).clamp(options.loss.minimum_probability, 1.0).log();
  }
  logits = logits + negatives_mask(global, batch, positive_keys, options.loss, options.dtype);
  const at::Tensor own = at::log_softmax(logits, 1).diagonal(global.first);  // [b]: log P(own target)
  return -(own.narrow(0, 0, batch.size()) * row_weights(batch, global.weight_sum, options.dtype)).sum();
}

}  // namespace rondo
