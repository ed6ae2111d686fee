#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rondo {

struct BootstrapOptions {
  int64_t resamples = 1000;  ///< 0: no intervals
  double confidence = 0.95;
  uint64_t seed = 1;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const BootstrapOptions& options);

/// A mean, and the interval that contains it with the asked confidence.
struct Interval {
  double mean = 0.0;
  double low = 0.0;
  double high = 0.0;
};

/// Means over users drawn with replacement, the percentile bootstrap (Efron and Tibshirani 1993, 13): row b of the
/// result is for resample first + b, which draws user below(users, key = resample, element = i) of
/// CounterRandom(seed, 0, kBootstrap) for i in [0, users), the same for every column. `values` [users, columns], at
/// least one user; result [count, columns]. A resample is a function of its number, so ranks may share them out.
std::vector<double> resampled_means(std::span<const double> values, int64_t columns, uint64_t seed, int64_t first,
                                    int64_t count);

/// The interval of each column between the quantiles (1 - confidence) / 2 and (1 + confidence) / 2 of its resampled
/// means, interpolated linearly between order statistics. `resampled` [resamples, columns], at least one.
std::vector<Interval> percentile_intervals(std::span<const double> values, int64_t columns,
                                           std::span<const double> resampled, double confidence);

}  // namespace rondo
