#include "trainer/eval/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "trainer/eval/metrics.h"

namespace rondo {
namespace {

/// Of ascending values.
double quantile(std::span<const double> values, double part) {
  const double at = part * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace

void validate(const BootstrapOptions& options) {
  if (options.resamples < 0) throw ConfigError(concat("resamples must be 0 or more, got ", options.resamples));
  if (!(options.confidence > 0.0 && options.confidence < 1.0)) {
    throw ConfigError(concat("confidence must be in (0, 1), got ", options.confidence));
  }
}

std::vector<double> resampled_means(std::span<const double> values, int64_t columns, uint64_t seed, int64_t first,
                                    int64_t count) {
  const auto width = static_cast<size_t>(columns);
  const size_t users = values.size() / width;
  RONDO_CHECK(users > 0, "a bootstrap needs a user");
  const CounterRandom random(seed, 0, RandomPurpose::kBootstrap);
  std::vector<double> means(static_cast<size_t>(count) * width, 0.0);
  parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      double* sum = &means[static_cast<size_t>(b) * width];
      for (size_t i = 0; i < users; ++i) {
        const double* row = &values[random.below(users, static_cast<uint64_t>(first + b), i) * width];
        for (size_t column = 0; column < width; ++column) sum[column] += row[column];
      }
      for (size_t column = 0; column < width; ++column) sum[column] /= static_cast<double>(users);
    }
  });
  return means;
}

std::vector<Interval> percentile_intervals(std::span<const double> values, int64_t columns,
                                           std::span<const double> resampled, double confidence) {
  const auto width = static_cast<size_t>(columns);
  const size_t resamples = resampled.size() / width;
  RONDO_CHECK(resamples > 0, "an interval needs a resample");
  const auto means = column_means(values, columns);
  std::vector<Interval> intervals;
  std::vector<double> one(resamples);
  for (size_t column = 0; column < width; ++column) {
    for (size_t b = 0; b < resamples; ++b) one[b] = resampled[b * width + column];
    std::ranges::sort(one);
    intervals.push_back(
        {means[column], quantile(one, (1.0 - confidence) / 2.0), quantile(one, (1.0 + confidence) / 2.0)});
  }
  return intervals;
}

}  // namespace rondo
