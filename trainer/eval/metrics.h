#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

/// What is measured for one user, with L the first K of the list and R the held-out items (recsys_systems 6.1,
/// RecBole's definitions as coded): binary gain, a list that is shorter than K counts as K.
enum class Metric : uint8_t {
  kHitRate,    ///< 1 if L and R meet, else 0
  kRecall,     ///< |L and R| / |R|
  kPrecision,  ///< |L and R| / K
  kNdcg,       ///< sum over hits at rank i of 1 / log2(i + 1), over the same sum for the ranks 1 .. min(|R|, K)
  kMrr,        ///< 1 / rank of the first hit, 0 without a hit
};

inline constexpr std::array kMetrics{Metric::kHitRate, Metric::kRecall, Metric::kPrecision, Metric::kNdcg,
                                     Metric::kMrr};

/// "hr", "recall", "precision", "ndcg", "mrr".
std::string_view name_of(Metric metric);

/// The columns of a table of metrics: every metric at every cutoff K.
class MetricColumns {
 public:
  /// Throws ConfigError (field k) unless the cutoffs are ascending, distinct, and in [1, 65535].
  explicit MetricColumns(std::vector<int64_t> ks);

  int64_t size() const { return static_cast<int64_t>(kMetrics.size() * ks_.size()); }
  const std::vector<int64_t>& ks() const { return ks_; }
  int64_t largest_k() const { return ks_.back(); }

  /// Metrics in their order above, cutoffs ascending within one.
  int64_t column(Metric metric, size_t cutoff) const {
    return static_cast<int64_t>(static_cast<size_t>(metric) * ks_.size() + cutoff);
  }

  /// "ndcg@10".
  std::string name(int64_t column) const;

  /// Metrics of one user into `row` [size()]. `list`: best first, distinct, longer than largest_k() is fine. `targets`:
  /// ascending, distinct, at least one.
  void measure(std::span<const int32_t> list, std::span<const int32_t> targets, std::span<double> row) const;

 private:
  std::vector<int64_t> ks_;
  std::vector<double> discount_;  // [largest_k], 1 / log2(i + 1) of rank i = 1, 2, ...
  std::vector<double> ideal_;     // [largest_k + 1], sum of the first so many discounts
};

/// Means over rows of `values` [rows, columns], summed in order of the rows. Empty if there is no row.
std::vector<double> column_means(std::span<const double> values, int64_t columns);

/// Hit rate by how often the *target* item was trained on: of the (user, target) pairs whose target has a training
/// count in the bucket, the part with the target among the first K of the user's list. Pairs weigh alike, so a user
/// with many targets counts more than in the metrics above; with one target a user, the sum over buckets of
/// pairs x rate is users x HR@K.
class BucketHits {
 public:
  static constexpr int kBuckets = 4;
  static constexpr std::array<std::string_view, kBuckets> kNames{"0", "1-5", "6-20", ">20"};
  static int bucket_of(int64_t training_count);

  explicit BucketHits(std::vector<int64_t> ks);

  /// `training_counts` [items].
  void add(std::span<const int32_t> list, std::span<const int32_t> targets, std::span<const int64_t> training_counts);

  int64_t pairs(int bucket) const { return cell(bucket, 0); }

  /// 0 for a bucket without pairs.
  double hit_rate(int bucket, size_t cutoff) const;

  /// The counters, to be summed over ranks.
  std::span<int64_t> counters() { return counters_; }

 private:
  int64_t cell(int bucket, size_t at) const { return counters_[static_cast<size_t>(bucket) * (1 + ks_.size()) + at]; }

  std::vector<int64_t> ks_;
  std::vector<int64_t> counters_;  // [kBuckets, 1 + ks]: pairs, then hits at each K
};

/// Which items appear in anybody's list, and how far up: item coverage at every K is `items_within(K)` over the number
/// of items that may be recommended (a padding item is never among them, unlike in RecBole).
class ItemCoverage {
 public:
  explicit ItemCoverage(int64_t largest_k) : largest_k_(largest_k) {}

  void add(std::span<const int32_t> list);

  /// Adds what another rank has seen.
  void merge(std::span<const int64_t> seen);

  /// One value an item, ascending: what `merge` takes.
  std::span<const int64_t> seen();

  int64_t items_within(int64_t k);

 private:
  static constexpr int kRankBits = 16;

  void compact();

  int64_t largest_k_;
  std::vector<int64_t> seen_;  // place * 2^16 + rank in the list; compacted: the best rank of each place
  size_t compacted_ = 0;
};

}  // namespace rondo
