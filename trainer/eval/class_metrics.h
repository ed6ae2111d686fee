#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo {

/// How well classes are told apart, as scikit-learn defines it. The class that is said is the most probable one; of
/// equally probable ones the first.
struct ClassMetrics {
  double accuracy = 0;
  double balanced_accuracy = 0;    // mean over the classes that occur of the part of them that is found
  double macro_f1 = 0;             // mean over the classes that occur or are said of 2 tp / (2 tp + fp + fn)
  std::optional<double> auc;       // two classes that both occur: P(score of a second > score of a first), ties half
  double log_loss = 0;             // mean of -log P(its class), P at least 1e-15
  std::vector<int64_t> confusion;  // [classes, classes]: row the class, column what was said
};

/// `labels` [n], in [0, classes); `probabilities` [n, classes]. REQUIRES: n > 0.
ClassMetrics measure_classes(std::span<const int32_t> labels, std::span<const double> probabilities, int64_t classes);

/// The metrics by the names that reports and jobs use, "accuracy" first; without an AUC where there is none. The loss
/// is not among them: of the others more is better.
std::vector<std::pair<std::string_view, double>> named_metrics(const ClassMetrics& metrics);

}  // namespace rondo
