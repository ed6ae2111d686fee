#include "trainer/eval/hidden_evaluation.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/number_text.h"
#include "trainer/eval/gather.h"
#include "trainer/eval/metrics.h"

namespace rondo {
namespace {

int64_t common(std::span<const int32_t> ascending, std::span<const int32_t> others) {
  return std::ranges::count_if(others, [&](int32_t place) { return std::ranges::binary_search(ascending, place); });
}

/// [cases, 2 k]: recall at each cutoff, then what a random order is expected to find.
std::vector<double> measure(std::span<const EvaluationCase> cases, const RankedLists& lists,
                            std::span<const int32_t> candidates, std::span<const int64_t> ks) {
  std::vector<double> values;
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto list = lists.list(static_cast<int64_t>(i));
    for (const int64_t k : ks) {
      const int64_t hits = common(cases[i].targets, list.first(std::min(list.size(), static_cast<size_t>(k))));
      values.push_back(static_cast<double>(hits) / static_cast<double>(cases[i].targets.size()));
    }
    const int64_t left = static_cast<int64_t>(candidates.size()) - common(candidates, cases[i].masked);
    for (const int64_t k : ks) {
      values.push_back(std::min(1.0, static_cast<double>(k) / static_cast<double>(std::max<int64_t>(left, 1))));
    }
  }
  return values;
}

/// Recall over random of each row [rows, 2 k] of means.
std::vector<double> ratios(std::span<const double> means, size_t cutoffs) {
  std::vector<double> ratios;
  for (size_t row = 0; row < means.size(); row += 2 * cutoffs) {
    for (size_t i = 0; i < cutoffs; ++i) ratios.push_back(means[row + i] / means[row + cutoffs + i]);
  }
  return ratios;
}

std::string text_of(const char* format, double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

std::vector<int32_t> hidden_candidates(const EvaluationData& data) {
  std::vector<int32_t> places = data.split.hidden;
  const auto candidates = data.candidates();
  if (candidates.empty()) return places;
  std::erase_if(places, [&](int32_t place) { return !std::ranges::binary_search(candidates, place); });
  return places;
}

std::vector<EvaluationCase> hidden_cases(const EvaluationData& data) {
  const std::vector<int32_t> hidden = hidden_candidates(data);
  std::vector<EvaluationCase> cases;
  for (const EvaluationCase& one : data.cases()) {
    if (one.history.empty() || common(hidden, one.targets) == 0) continue;
    std::erase_if(cases.emplace_back(one).targets,
                  [&](int32_t place) { return !std::ranges::binary_search(hidden, place); });
  }
  return cases;
}

HiddenRecall measure_hidden(Communicator& comm, Ranker& ranker, std::span<const EvaluationCase> cases,
                            std::span<const int32_t> candidates, std::span<const int64_t> k,
                            const BootstrapOptions& bootstrap) {
  RONDO_CHECK(!cases.empty() && !k.empty(), "nothing to measure");
  const auto share = [&](int rank) {
    return cases.size() * static_cast<size_t>(rank) / static_cast<size_t>(comm.size());
  };
  const auto mine = cases.subspan(share(comm.rank()), share(comm.rank() + 1) - share(comm.rank()));
  const auto of_mine = measure(mine, ranker.rank(mine, k.back()), candidates, k);
  const auto values = gather_values(comm, std::span<const double>(of_mine), "recall of hidden items");
  const auto columns = static_cast<int64_t>(2 * k.size());
  const std::vector<double> means = column_means(values, columns), middle = ratios(means, k.size());
  HiddenRecall result;
  result.candidates = static_cast<int64_t>(candidates.size());
  result.recall.assign(means.begin(), means.begin() + static_cast<std::ptrdiff_t>(k.size()));
  result.random.assign(means.begin() + static_cast<std::ptrdiff_t>(k.size()), means.end());
  for (const double ratio : middle) result.times_random.push_back({ratio, ratio, ratio});
  if (bootstrap.resamples == 0) return result;
  const auto resampled = ratios(resampled_means(values, columns, bootstrap.seed, 0, bootstrap.resamples), k.size());
  result.times_random = percentile_intervals(middle, static_cast<int64_t>(k.size()), resampled, bootstrap.confidence);
  return result;
}

std::string to_json(const HiddenReport& report) {
  nlohmann::ordered_json line{{"event", "eval_hidden"}};
  if (report.step >= 0) line["step"] = report.step;
  line["split"] = report.held_out;
  line["model"] = "rondo";
  line["hidden"] = report.hidden;
  line["users"] = report.users;
  line["targets"] = report.targets;
  for (const HiddenRecall& recall : report.recalls) {
    auto& to = line[concat("among_", recall.among)];
    to["candidates"] = recall.candidates;
    for (size_t i = 0; i < report.k.size(); ++i) {
      const Interval& times = recall.times_random[i];
      to[concat("recall@", report.k[i])] = {{"recall", recall.recall[i]},
                                            {"random", recall.random[i]},
                                            {"times_random", times.mean},
                                            {"low", times.low},
                                            {"high", times.high}};
    }
  }
  line["confidence"] = report.confidence;
  line["resamples"] = report.resamples;
  return line.dump();
}

std::string to_table(const HiddenReport& report) {
  std::string text =
      concat("hidden items: ", with_thousands(report.hidden), " withheld from training; ", with_thousands(report.users),
             " users took ", with_thousands(report.targets), " of them in ", report.held_out, "\n");
  for (const HiddenRecall& recall : report.recalls) {
    const char* among = recall.among == "hidden" ? "hidden items alone" : "items";
    for (size_t i = 0; i < report.k.size(); ++i) {
      const Interval& times = recall.times_random[i];
      text += concat("  recall@", report.k[i], " among ", with_thousands(recall.candidates), " ", among, ": ",
                     text_of("%.4f", recall.recall[i]), ", random ", text_of("%.4f", recall.random[i]), ", ",
                     text_of("%.2f", times.mean), " times [", text_of("%.2f", times.low), ", ",
                     text_of("%.2f", times.high), "]\n");
    }
  }
  return text;
}

}  // namespace rondo
