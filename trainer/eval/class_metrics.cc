#include "trainer/eval/class_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr double kLeastProbability = 1e-15;

/// Area under the ROC curve by the sum of ranks (Mann and Whitney 1947); equal scores share the mean of their ranks.
std::optional<double> area_under_curve(std::span<const int32_t> labels, std::span<const double> probabilities) {
  const auto score = [&](size_t i) { return probabilities[2 * i + 1]; };
  std::vector<size_t> order(labels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, score);
  double rank_sum = 0, seconds = 0;
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    double tied_seconds = 0;
    for (; end < order.size() && score(order[end]) == score(order[begin]); ++end) tied_seconds += labels[order[end]];
    rank_sum += tied_seconds * (static_cast<double>(begin + end + 1) / 2.0);  // ranks from 1
    seconds += tied_seconds;
    begin = end;
  }
  const double firsts = static_cast<double>(labels.size()) - seconds;
  if (firsts == 0 || seconds == 0) return std::nullopt;
  return (rank_sum - seconds * (seconds + 1) / 2) / (seconds * firsts);
}

/// What the confusion matrix says of one class.
struct ClassCounts {
  double found = 0, occurs = 0, said = 0;
};

ClassCounts counts_of(const std::vector<int64_t>& confusion, size_t label, size_t classes) {
  ClassCounts counts{static_cast<double>(confusion[label * classes + label])};
  for (size_t other = 0; other < classes; ++other) {
    counts.occurs += static_cast<double>(confusion[label * classes + other]);
    counts.said += static_cast<double>(confusion[other * classes + label]);
  }
  return counts;
}

}  // namespace

ClassMetrics measure_classes(std::span<const int32_t> labels, std::span<const double> probabilities, int64_t classes) {
  const auto width = static_cast<size_t>(classes);
  RONDO_CHECK(!labels.empty(), "no examples");
  RONDO_CHECK_EQ(probabilities.size(), labels.size() * width);
  ClassMetrics metrics;
  metrics.confusion.assign(width * width, 0);
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto row = probabilities.subspan(i * width, width);
    const auto said = static_cast<size_t>(std::ranges::max_element(row) - row.begin());
    ++metrics.confusion[static_cast<size_t>(labels[i]) * width + said];
    metrics.log_loss -= std::log(std::max(row[static_cast<size_t>(labels[i])], kLeastProbability));
  }
  double right = 0, recalls = 0, occurring = 0, f1s = 0, seen = 0;
  for (size_t label = 0; label < width; ++label) {
    const ClassCounts counts = counts_of(metrics.confusion, label, width);
    right += counts.found;
    occurring += counts.occurs > 0 ? 1 : 0;
    recalls += counts.occurs > 0 ? counts.found / counts.occurs : 0;
    const double either = counts.occurs + counts.said;
    seen += either > 0 ? 1 : 0;
    f1s += either > 0 ? 2 * counts.found / either : 0;
  }
  const auto size = static_cast<double>(labels.size());
  metrics.accuracy = right / size;
  metrics.balanced_accuracy = recalls / occurring;
  metrics.macro_f1 = f1s / seen;
  metrics.log_loss /= size;
  if (classes == 2) metrics.auc = area_under_curve(labels, probabilities);
  return metrics;
}

std::vector<std::pair<std::string_view, double>> named_metrics(const ClassMetrics& metrics) {
  std::vector<std::pair<std::string_view, double>> named{
      {"accuracy", metrics.accuracy}, {"balanced_accuracy", metrics.balanced_accuracy}, {"macro_f1", metrics.macro_f1}};
  if (metrics.auc) named.emplace_back("auc", *metrics.auc);
  return named;
}

}  // namespace rondo
