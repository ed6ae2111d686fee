#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

/// Of `ids` ids drawn from a table's stream, `distinct` differ (on average).
struct DistinctPoint {
  double ids = 0;
  double distinct = 0;
};

/// How one table is asked: what the planner must know of the data, and all that it knows.
struct TableStatistics {
  /// Ids of an example, over all features that share the table.
  double ids_per_example = 1.0;

  /// Bags of an example that are pooled from it: its features, or more for sequences of bags.
  double bags_per_example = 1.0;

  /// Popularity: the k-th most frequent row has p ~ k^-skew (0: all alike). Around 1 for shops.
  double skew = 0.0;

  /// Measured, ascending in both; counts before `skew` where it is given. Read between points on logarithmic scales.
  std::vector<DistinctPoint> measured = {};
};

/// Throws ConfigError naming the table, the field, its value and the allowed range.
void validate(const TableStatistics& statistics, const std::string& table);

/// Popularity of the rows 1 .. rows by p_k = (G(k + 1) - G(k)) / G(rows + 1), G(x) = integral of t^-alpha over [1, x]:
/// what the inverse of x^-alpha draws (the generator of the peers' benchmark, exchange_bench and `synth`).
class PowerLaw {
 public:
  /// REQUIRES: rows >= 1, alpha >= 0.
  PowerLaw(int64_t rows, double alpha);

  /// Share of the draws that fall on the `count` most popular rows.
  double share_of_first(double count) const;

  /// Expected number of distinct rows among `draws` independent draws: sum over k of 1 - (1 - p_k)^draws. The first
  /// rows one by one, then runs of rows that differ by 5 % in k, each at its mean p: within 0.1 % of the sum.
  double distinct(double draws) const { return distinct_of_first(rows_, draws); }

  /// Of the `count` most popular rows alone.
  double distinct_of_first(double count, double draws) const;

 private:
  double mass(double from, double to) const;  // of ranks [from, to)

  double rows_;
  double alpha_;
  double total_;
};

/// Expected number of distinct rows among `ids` ids; never above `rows` (0: unknown, unlimited) or `ids`.
double expected_distinct(const TableStatistics& statistics, int64_t rows, double ids);

}  // namespace rondo
