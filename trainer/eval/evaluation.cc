#include "trainer/eval/evaluation.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/random.h"
#include "sharding/base/stopwatch.h"
#include "trainer/eval/gather.h"
#include "trainer/eval/popularity.h"

namespace rondo {
namespace {

/// What one ranker's lists are worth, for all users on every rank.
struct Measured {
  std::vector<double> with_history;     // [users with a history, columns], in order of the cases
  std::vector<double> without_history;  // [users without, columns]
  BucketHits buckets{{1}};
  std::vector<double> coverage;  // [cutoffs]
};

class Measurement {
 public:
  Measurement(Communicator& comm, const EvaluationData& data, const MetricColumns& columns)
      : comm_(comm), data_(data), columns_(columns) {}

  /// `lists` of this rank's `cases`. Collective.
  Measured run(std::span<const EvaluationCase> cases, const RankedLists& lists) {
    RONDO_CHECK_EQ(lists.size(), static_cast<int64_t>(cases.size()), "lists of a ranker");
    std::vector<double> with, without, row(static_cast<size_t>(columns_.size()));
    BucketHits buckets(columns_.ks());
    ItemCoverage coverage(columns_.largest_k());
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto list = lists.list(static_cast<int64_t>(i));
      columns_.measure(list, cases[i].targets, row);
      auto& to = cases[i].history.empty() ? without : with;
      to.insert(to.end(), row.begin(), row.end());
      if (cases[i].history.empty()) continue;
      buckets.add(list, cases[i].targets, data_.split.training_counts);
      coverage.add(list);
    }
    Measured all;
    all.with_history = gather_values(comm_, std::span<const double>(with), "metrics of users");
    all.without_history = gather_values(comm_, std::span<const double>(without), "metrics of users without a history");
    all.buckets = sum(std::move(buckets));
    all.coverage = merge(coverage);
    return all;
  }

 private:
  BucketHits sum(BucketHits mine) {
    const auto all = gather_values(comm_, std::span<const int64_t>(mine.counters()), "hits by training count");
    const auto counters = mine.counters();
    for (size_t i = 0; i < counters.size(); ++i) {
      counters[i] = 0;
      for (size_t at = i; at < all.size(); at += counters.size()) counters[i] += all[at];
    }
    return mine;
  }

  std::vector<double> merge(ItemCoverage& mine) {
    ItemCoverage all(columns_.largest_k());
    all.merge(gather_values(comm_, mine.seen(), "items in lists"));
    std::vector<double> coverage;
    for (const int64_t k : columns_.ks()) {
      coverage.push_back(static_cast<double>(all.items_within(k)) /
                         static_cast<double>(std::max<int64_t>(data_.candidate_count(), 1)));
    }
    return coverage;
  }

  Communicator& comm_;
  const EvaluationData& data_;
  const MetricColumns& columns_;
};

/// Intervals of `first` minus each of `others`, all from the same resamples, which the ranks share out.
std::vector<std::vector<Interval>> compare(Communicator& comm, const std::vector<double>& first,
                                           const std::vector<std::vector<double>>& others,
                                           const EvaluationReport& report, const BootstrapOptions& options) {
  const auto columns = static_cast<size_t>(report.columns.size());
  if (others.empty() || first.empty() || options.resamples == 0) return {};
  const size_t width = columns * others.size();
  std::vector<double> differences(first.size() * others.size());
  for (size_t i = 0; i < first.size(); ++i) {
    for (size_t other = 0; other < others.size(); ++other) {
      differences[i / columns * width + other * columns + i % columns] = first[i] - others[other][i];
    }
  }
  const auto share = [&](int64_t rank) { return options.resamples * rank / comm.size(); };
  const auto mine = resampled_means(differences, static_cast<int64_t>(width), options.seed, share(comm.rank()),
                                    share(comm.rank() + 1) - share(comm.rank()));
  const auto all = gather_values(comm, std::span<const double>(mine), "resampled means");
  const auto intervals = percentile_intervals(differences, static_cast<int64_t>(width), all, options.confidence);
  std::vector<std::vector<Interval>> of_other;
  for (size_t at = 0; at < width; at += columns) {
    const auto begin = intervals.begin() + static_cast<std::ptrdiff_t>(at);
    of_other.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(columns));
  }
  return of_other;
}

EvaluationReport protocol_of(const EvaluationData& data, const EvaluationOptions& options,
                             const std::vector<EvaluationCase>& cases) {
  EvaluationReport report;
  report.held_out = data.name();
  report.split = name_of(data.split_options.kind);
  report.history = data.split_options.repeats == Repeats::kDrop ? "masked" : "unmasked";
  report.cases = static_cast<int64_t>(data.cases().size());
  for (const EvaluationCase& one : cases) {
    ++(one.history.empty() ? report.users_without_history : report.users);
    if (!one.history.empty()) report.targets += static_cast<int64_t>(one.targets.size());
  }
  report.dropped_repeats = data.split.dropped_repeats;
  report.catalogue = data.catalog.items();
  report.candidates = data.candidate_count();
  report.sample_seed = options.seed;
  report.confidence = options.bootstrap.confidence;
  report.resamples = options.bootstrap.resamples;
  report.columns = MetricColumns(options.k);
  return report;
}

}  // namespace

void validate(const EvaluationOptions& options) {
  const MetricColumns columns(options.k);
  if (options.max_users < 0) throw ConfigError(concat("max_users must be 0 (all) or more, got ", options.max_users));
  validate(options.item_knn);
  validate(options.bootstrap);
  validate(options.top_k);
}

std::vector<std::unique_ptr<Ranker>> make_floors(Communicator& comm, const EvaluationData& data,
                                                 const EvaluationOptions& options) {
  std::vector<std::unique_ptr<Ranker>> floors;
  if (!options.floors) return floors;
  const FloorCounts counts = data.held_out == HeldOut::kTest ? options.floor_counts : FloorCounts::kTrain;
  floors.push_back(std::make_unique<Popularity>(data, counts));
  floors.push_back(std::make_unique<ItemKnn>(comm, data, counts, options.item_knn));
  return floors;
}

std::vector<EvaluationCase> sample_cases(const EvaluationData& data, const EvaluationOptions& options) {
  const auto& cases = data.cases();
  const auto wanted = static_cast<size_t>(options.max_users);
  if (wanted == 0 || wanted >= cases.size()) return cases;
  const CounterRandom random(options.seed, 0, RandomPurpose::kSample);
  std::vector<std::pair<uint64_t, size_t>> drawn;
  for (size_t i = 0; i < cases.size(); ++i) {
    drawn.emplace_back(random.bits(data.events.user_keys[static_cast<size_t>(cases[i].user)], 0), i);
  }
  std::ranges::nth_element(drawn, drawn.begin() + static_cast<std::ptrdiff_t>(wanted));
  drawn.resize(wanted);
  std::ranges::sort(drawn, {}, &std::pair<uint64_t, size_t>::second);
  std::vector<EvaluationCase> sample;
  for (const auto& [bits, i] : drawn) sample.push_back(cases[i]);
  return sample;
}

EvaluationReport evaluate(Communicator& comm, std::span<Ranker* const> rankers, const EvaluationData& data,
                          const EvaluationOptions& options) {
  validate(options);
  const auto cases = sample_cases(data, options);
  EvaluationReport report = protocol_of(data, options, cases);
  const auto share = [&](int rank) {
    return cases.size() * static_cast<size_t>(rank) / static_cast<size_t>(comm.size());
  };
  const auto mine = std::span(cases).subspan(share(comm.rank()), share(comm.rank() + 1) - share(comm.rank()));

  Measurement measurement(comm, data, report.columns);
  std::vector<double> first;
  std::vector<std::vector<double>> others;
  std::vector<size_t> compared;  // the rankers of `others`
  for (Ranker* ranker : rankers) {
    const Stopwatch watch;
    RankerResult& result = report.rankers.emplace_back();
    result.name = ranker->name();
    result.counts = ranker->counts();
    result.skipped = ranker->prepare(mine);
    if (!result.skipped.empty()) continue;
    Measured measured = measurement.run(mine, ranker->rank(mine, report.columns.largest_k()));
    result.metrics = column_means(measured.with_history, report.columns.size());
    result.metrics_without_history = column_means(measured.without_history, report.columns.size());
    result.coverage = std::move(measured.coverage);
    result.buckets = std::move(measured.buckets);
    result.seconds = watch.seconds();
    if (report.rankers.size() == 1) {
      first = std::move(measured.with_history);
    } else {
      others.push_back(std::move(measured.with_history));
      compared.push_back(report.rankers.size() - 1);
    }
  }
  auto intervals = compare(comm, first, others, report, options.bootstrap);
  for (size_t i = 0; i < intervals.size(); ++i) report.rankers[compared[i]].first_minus_this = std::move(intervals[i]);
  return report;
}

}  // namespace rondo
