#include "trainer/loop/classifier_task.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/stopwatch.h"
#include "sharding/exchange/gather_vectors.h"
#include "trainer/loop/step_agreement.h"
#include "trainer/text/text_dealing.h"

namespace rondo {
namespace {

DistinctTexts distinct_texts_of(const ClassifierData& data, std::span<const int64_t> examples) {
  std::vector<std::span<const int32_t>> texts;
  texts.reserve(examples.size());
  for (const int64_t example : examples) texts.push_back(data.text(example));
  return distinct_texts(texts);
}

at::Tensor rows_of(const at::Tensor& vectors, std::span<const int64_t> rows) {
  at::Tensor index = at::empty({static_cast<int64_t>(rows.size())}, at::kLong);
  std::ranges::copy(rows, index.mutable_data_ptr<int64_t>());
  return at::index_select(vectors, 0, index);
}

}  // namespace

ClassifierTask::ClassifierTask(const TrainOptions& train, const ClassifierOptions& options, const ClassifierData& data,
                               TextClassifier& model, uint64_t seed, Communicator& comm)
    : options_(options),
      data_(data),
      model_(model),
      seed_(seed),
      comm_(comm),
      optimizer_(make_dense_optimizer(train, model.parameters())),
      gradient_sum_(values_of(model.parameters()), comm) {
  RONDO_CHECK(options.class_weights.empty() || options.class_weights.size() == data.examples.label_names.size(),
              "weights of ", options.class_weights.size(), " classes");
}

double ClassifierTask::weight_of(int64_t example) const {
  const auto i = static_cast<size_t>(example);
  const double weight = data_.examples.weights[i];
  return options_.class_weights.empty()
             ? weight
             : weight * options_.class_weights[static_cast<size_t>(data_.examples.labels[i])];
}

std::vector<int64_t> ClassifierTask::next_batch(DataCursor& cursor, int64_t global_batch) const {
  const BatchRange range = next_range(cursor, global_batch, examples());
  const Permutation order = epoch_order(examples(), range.epoch, seed_);
  std::vector<int64_t> batch;
  for (int64_t i = range.first; i < range.first + range.size; ++i) {
    batch.push_back(data_.split.train[order(static_cast<uint64_t>(i))]);
  }
  return batch;
}

/// Vectors of this rank's examples, from texts that it encodes itself.
at::Tensor ClassifierTask::encode_own(std::span<const int64_t> examples, const StepContext& context,
                                      StepResult& result) {
  const DistinctTexts texts = distinct_texts_of(data_, examples);
  std::vector<int64_t> tokens = gather_sizes(comm_, texts.texts.offsets.back(), "tokens of a batch");
  const TextDeal deal{{}, {}, std::move(tokens), {}};
  result.figures = {{"token_imbalance", deal.imbalance()}};
  return rows_of(model_.encode(texts.texts, context), texts.places);
}

/// Vectors of this rank's examples, from texts of the global batch that are dealt over ranks.
at::Tensor ClassifierTask::encode_dealt(const std::vector<int64_t>& batch, std::span<const int64_t> own,
                                        const StepContext& context, StepResult& result) {
  const DistinctTexts texts = distinct_texts_of(data_, batch);
  const TextDeal deal = deal_texts(texts.texts, comm_.size());
  result.figures = {{"token_imbalance", deal.imbalance()}};
  const PackedTexts mine = select_texts(texts.texts, deal.texts[static_cast<size_t>(comm_.rank())]);
  const at::Tensor vectors = gather_vectors(comm_, model_.encode(mine, context), deal.rows);  // [distinct, width]
  std::vector<int64_t> rows;
  const auto first = own.data() - batch.data();
  for (size_t i = 0; i < own.size(); ++i) {
    rows.push_back(deal.row_of[static_cast<size_t>(texts.places[static_cast<size_t>(first) + i])]);
  }
  return rows_of(vectors, rows);
}

at::Tensor ClassifierTask::loss_of(std::span<const int64_t> own, const at::Tensor& scores, double weight_sum) const {
  std::vector<int64_t> labels;
  std::vector<double> weights;
  for (const int64_t example : own) {
    labels.push_back(data_.examples.labels[static_cast<size_t>(example)]);
    weights.push_back(weight_of(example));
  }
  return cross_entropy(scores, {labels, weights, weight_sum});
}

StepResult ClassifierTask::step(DataCursor& cursor, const StepPlan& plan) {
  const StepContext context{seed_, plan.step, /*training=*/true};
  StepResult result;
  Stopwatch watch;
  const auto lap = [&](const char* phase) { result.phase_ms.push_back({phase, 1e3 * watch.restart()}); };
  const std::vector<int64_t> batch = next_batch(cursor, plan.global_batch);  // of all ranks
  const auto size = static_cast<int64_t>(batch.size());
  const int64_t begin = size * comm_.rank() / comm_.size(), end = size * (comm_.rank() + 1) / comm_.size();
  const std::span own = std::span(batch).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  double weight_sum = 0.0;
  for (const int64_t example : batch) weight_sum += weight_of(example);

  const at::Tensor vectors = options_.dispatch == TextDispatch::kBalanced
                                 ? encode_dealt(batch, own, context, result)
                                 : encode_own(own, context, result);         // [own, width]
  const at::Tensor loss = loss_of(own, model_.scores(vectors), weight_sum);  // this rank's part of the global mean
  StepAgreement agreement(comm_, loss.item<double>(), plan.stop);
  lap("forward");

  loss.backward();
  agreement.wait();
  require_finite(agreement.loss(), "loss", plan.step);
  lap("backward");

  gradient_sum_.finish();  // summed over ranks
  const StepVerdict verdict = optimizer_->step({plan.step - 1, plan.learning_rate_factor, plan.clip_norm});
  require_finite(verdict.finite ? 0.0 : verdict.gradient_norm, "gradient", plan.step);
  lap("update");

  result.loss = agreement.loss();
  result.stop = agreement.stop();
  result.examples = size;
  return result;
}

}  // namespace rondo
