#include "trainer/loop/classifier_evaluation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/stopwatch.h"

namespace rondo {
namespace {

/// Tokens of a batch: enough for the dense products, little enough for the caches.
constexpr size_t kBatchTokens = 4096;

/// Places of the texts, the longest first, cut into batches.
std::vector<std::vector<int64_t>> batches_of(std::span<const std::span<const int32_t>> texts) {
  std::vector<int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{}, [&](int64_t i) { return texts[static_cast<size_t>(i)].size(); });
  std::vector<std::vector<int64_t>> batches;
  size_t tokens = kBatchTokens;
  for (const int64_t place : order) {
    const size_t length = texts[static_cast<size_t>(place)].size();
    if (tokens + length > kBatchTokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(place);
    tokens += length;
  }
  return batches;
}

/// The most frequent class of training; of equally frequent ones the first.
int64_t majority_class(const ClassifierData& data) {
  std::vector<int64_t> counts(data.examples.label_names.size());
  for (const int64_t i : data.split.train) ++counts[static_cast<size_t>(data.examples.labels[static_cast<size_t>(i)])];
  return std::ranges::max_element(counts) - counts.begin();
}

}  // namespace

std::vector<double> class_probabilities(const TextClassifier& model, std::span<const std::span<const int32_t>> texts,
                                        Communicator& comm) {
  const at::NoGradGuard no_gradients;
  const int64_t classes = model.options().classes;
  at::Tensor all = at::zeros({static_cast<int64_t>(texts.size()), classes}, at::kDouble);
  const auto batches = batches_of(texts);
  for (size_t b = static_cast<size_t>(comm.rank()); b < batches.size(); b += static_cast<size_t>(comm.size())) {
    PackedTexts packed;
    for (const int64_t place : batches[b]) append_text(texts[static_cast<size_t>(place)], packed);
    const at::Tensor scores = model.scores(model.encode(packed, {}));
    const at::Tensor probabilities = at::softmax(scores.to(at::kDouble), 1);
    for (size_t i = 0; i < batches[b].size(); ++i) all[batches[b][i]].copy_(probabilities[static_cast<int64_t>(i)]);
    comm.progress();
  }
  comm.all_reduce(all, {Channel::kBackward, "probabilities of classes"})->wait();  // each row from one rank: exact
  return {all.data_ptr<double>(), all.data_ptr<double>() + all.numel()};
}

ClassificationReport evaluate_classifier(const TextClassifier& model, const ClassifierData& data, HeldOut which,
                                         int64_t step, Communicator& comm) {
  const auto& places = which == HeldOut::kTest ? data.split.test : data.split.valid;
  RONDO_CHECK(!places.empty(), "no held-out examples");
  Stopwatch watch;
  std::vector<std::span<const int32_t>> texts;
  std::vector<int32_t> labels;
  for (const int64_t place : places) {
    texts.push_back(data.text(place));
    labels.push_back(data.examples.labels[static_cast<size_t>(place)]);
  }
  const auto probabilities = class_probabilities(model, texts, comm);
  ClassificationReport report;
  report.step = step;
  report.held_out = which == HeldOut::kTest ? "test" : "valid";
  report.label_names = data.examples.label_names;
  report.examples = static_cast<int64_t>(labels.size());
  report.model = measure_classes(labels, probabilities, data.examples.classes());
  std::vector<double> constant(probabilities.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    constant[i * report.label_names.size() + static_cast<size_t>(majority_class(data))] = 1.0;
  }
  report.majority = measure_classes(labels, constant, data.examples.classes());
  report.seconds = watch.seconds();
  return report;
}

}  // namespace rondo
