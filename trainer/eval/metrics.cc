#include "trainer/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

constexpr int64_t kLongestList = 65'535;

bool holds(std::span<const int32_t> ascending, int32_t item) {
  return std::binary_search(ascending.begin(), ascending.end(), item);
}

}  // namespace

std::string_view name_of(Metric metric) {
  switch (metric) {
    case Metric::kHitRate:
      return "hr";
    case Metric::kRecall:
      return "recall";
    case Metric::kPrecision:
      return "precision";
    case Metric::kNdcg:
      return "ndcg";
    case Metric::kMrr:
      return "mrr";
  }
  return "";
}

MetricColumns::MetricColumns(std::vector<int64_t> ks) : ks_(std::move(ks)) {
  if (ks_.empty()) throw ConfigError("k must be ascending and name at least one cutoff, got none");
  int64_t last = 0;
  for (const int64_t k : ks_) {
    if (k <= last || k > kLongestList) {
      throw ConfigError(
          concat("k must be ascending, distinct and in [1, ", kLongestList, "], got ", k, " after ", last));
    }
    last = k;
  }
  ideal_.push_back(0.0);
  for (int64_t rank = 1; rank <= largest_k(); ++rank) {
    discount_.push_back(1.0 / std::log2(static_cast<double>(rank) + 1.0));
    ideal_.push_back(ideal_.back() + discount_.back());
  }
}

std::string MetricColumns::name(int64_t column) const {
  const auto at = static_cast<size_t>(column);
  return concat(name_of(kMetrics[at / ks_.size()]), "@", ks_[at % ks_.size()]);
}

void MetricColumns::measure(std::span<const int32_t> list, std::span<const int32_t> targets,
                            std::span<double> row) const {
  RONDO_CHECK(!targets.empty(), "a user without held-out items");
  RONDO_CHECK_EQ(static_cast<int64_t>(row.size()), size());
  const auto relevant = static_cast<int64_t>(targets.size());
  const auto length = static_cast<int64_t>(list.size());
  int64_t hits = 0, first_hit = 0, rank = 0;
  double gain = 0.0;
  for (size_t cutoff = 0; cutoff < ks_.size(); ++cutoff) {
    const int64_t k = ks_[cutoff];
    for (; rank < std::min(k, length); ++rank) {
      if (!holds(targets, list[static_cast<size_t>(rank)])) continue;
      ++hits;
      gain += discount_[static_cast<size_t>(rank)];
      if (first_hit == 0) first_hit = rank + 1;
    }
    const auto value = [&](Metric metric) -> double& { return row[static_cast<size_t>(column(metric, cutoff))]; };
    value(Metric::kHitRate) = hits > 0 ? 1.0 : 0.0;
    value(Metric::kRecall) = static_cast<double>(hits) / static_cast<double>(relevant);
    value(Metric::kPrecision) = static_cast<double>(hits) / static_cast<double>(k);
    value(Metric::kNdcg) = gain / ideal_[static_cast<size_t>(std::min(relevant, k))];
    value(Metric::kMrr) = first_hit > 0 ? 1.0 / static_cast<double>(first_hit) : 0.0;
  }
}

std::vector<double> column_means(std::span<const double> values, int64_t columns) {
  const auto width = static_cast<size_t>(columns);
  const size_t rows = values.size() / width;
  if (rows == 0) return {};
  std::vector<double> means(width, 0.0);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < width; ++column) means[column] += values[row * width + column];
  }
  for (double& mean : means) mean /= static_cast<double>(rows);
  return means;
}

int BucketHits::bucket_of(int64_t training_count) {
  return training_count <= 0 ? 0 : training_count <= 5 ? 1 : training_count <= 20 ? 2 : 3;
}

BucketHits::BucketHits(std::vector<int64_t> ks) : ks_(std::move(ks)), counters_(kBuckets * (1 + ks_.size()), 0) {}

void BucketHits::add(std::span<const int32_t> list, std::span<const int32_t> targets,
                     std::span<const int64_t> training_counts) {
  const auto longest = static_cast<std::ptrdiff_t>(std::min<size_t>(list.size(), static_cast<size_t>(ks_.back())));
  for (const int32_t target : targets) {
    const int bucket = bucket_of(training_counts[static_cast<size_t>(target)]);
    int64_t* counter = &counters_[static_cast<size_t>(bucket) * (1 + ks_.size())];
    ++counter[0];
    const int64_t rank = std::find(list.begin(), list.begin() + longest, target) - list.begin();
    if (rank == longest) continue;
    for (size_t cutoff = 0; cutoff < ks_.size(); ++cutoff) counter[1 + cutoff] += rank < ks_[cutoff] ? 1 : 0;
  }
}

double BucketHits::hit_rate(int bucket, size_t cutoff) const {
  const int64_t all = pairs(bucket);
  return all > 0 ? static_cast<double>(cell(bucket, 1 + cutoff)) / static_cast<double>(all) : 0.0;
}

void ItemCoverage::add(std::span<const int32_t> list) {
  const auto longest = std::min(static_cast<int64_t>(list.size()), largest_k_);
  for (int64_t rank = 0; rank < longest; ++rank) {
    seen_.push_back((static_cast<int64_t>(list[static_cast<size_t>(rank)]) << kRankBits) + rank);
  }
  // Doubling keeps the cost linear and the memory within twice the distinct items.
  if (seen_.size() > 2 * compacted_ + 65'536) compact();
}

void ItemCoverage::merge(std::span<const int64_t> seen) { seen_.insert(seen_.end(), seen.begin(), seen.end()); }

std::span<const int64_t> ItemCoverage::seen() {
  compact();
  return seen_;
}

int64_t ItemCoverage::items_within(int64_t k) {
  compact();
  return std::count_if(seen_.begin(), seen_.end(), [k](int64_t entry) { return (entry & ((1 << kRankBits) - 1)) < k; });
}

void ItemCoverage::compact() {
  if (seen_.size() == compacted_) return;
  std::sort(seen_.begin(), seen_.end());
  // Of one place the best rank sorts first.
  const auto same_place = [](int64_t a, int64_t b) { return (a >> kRankBits) == (b >> kRankBits); };
  seen_.erase(std::unique(seen_.begin(), seen_.end(), same_place), seen_.end());
  compacted_ = seen_.size();
}

}  // namespace rondo
