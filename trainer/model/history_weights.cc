#include "trainer/model/history_weights.h"

#include <ATen/ops/empty.h>

#include <cmath>

namespace rondo {
namespace {

double behaviour_weight(const UserVectorOptions& options, uint8_t behaviour) {
  return behaviour < options.behaviour_weights.size() ? options.behaviour_weights[behaviour] : 1.0;
}

double decay(const Batch& batch, const UserVectorOptions& options, int64_t event, int64_t end) {
  switch (options.weight) {
    case HistoryWeight::kMean:
      return 1.0;
    case HistoryWeight::kTimeDecay:
      return std::exp2(-batch.history_age_days[static_cast<size_t>(event)] / options.half_life_days);
    case HistoryWeight::kPositionDecay:
      return std::exp2(-static_cast<double>(end - 1 - event) / options.half_life_events);
  }
  return 1.0;
}

}  // namespace

at::Tensor history_weights(const Batch& batch, const UserVectorOptions& options) {
  at::Tensor weights = at::empty({static_cast<int64_t>(batch.history_items.size())}, at::kDouble);
  auto* alpha = weights.data_ptr<double>();
  const bool plain = options.weight == HistoryWeight::kMean;
  for (int64_t example = 0; example < batch.size(); ++example) {
    const int64_t begin = batch.history_offsets[static_cast<size_t>(example)];
    const int64_t end = batch.history_offsets[static_cast<size_t>(example) + 1];
    double sum = 0.0;
    for (int64_t event = begin; event < end; ++event) {
      const auto behaviour = batch.history_behaviours[static_cast<size_t>(event)];
      alpha[event] = plain ? 1.0 : behaviour_weight(options, behaviour) * decay(batch, options, event, end);
      sum += alpha[event];
    }
    // Weights so old that all vanish: nothing is known of the user, as with an empty history.
    for (int64_t event = begin; event < end; ++event) alpha[event] = sum > 0.0 ? alpha[event] / sum : 0.0;
  }
  return weights;
}

}  // namespace rondo
