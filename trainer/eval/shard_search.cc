#include "trainer/eval/shard_search.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"

namespace rondo {
namespace {

constexpr int64_t kUserGrain = 16;

/// Above it a product could leave the range of fp32.
constexpr double kLargestProduct = 1e37;

double norm_of(const float* vector, int64_t dim) {
  double sum = 0.0;
  for (int64_t i = 0; i < dim; ++i) sum += static_cast<double>(vector[i]) * static_cast<double>(vector[i]);
  return std::sqrt(sum);
}

float exact_score(const float* a, const float* b, int64_t dim) {
  double sum = 0.0;
  for (int64_t i = 0; i < dim; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return static_cast<float>(sum);
}

/// Largest distance between a product in fp32, summed in any order, and the exact score: |fl(u v) - u v| <= n e / (1 -
/// n e) |u| |v| (Higham 2002, 3.5) and the rounding of the exact one; twice that to be safe, and room for subnormals.
double score_error(int64_t dim, double product_of_norms) {
  constexpr double kUnit = 0x1p-24;
  return 2.0 * static_cast<double>(dim + 2) * kUnit * product_of_norms + 1e-37;
}

}  // namespace

/// Items of one user whose blocked fp32 score says that they may be among the K best.
class ShardSearch::Finalists {
 public:
  struct Entry {
    float score = 0.0F;
    int32_t row = 0;
  };

  Finalists(int64_t k, double margin) : k_(static_cast<size_t>(k)), margin_(margin), limit_(2 * k_ + 64) {}

  void scan(const float* scores, int64_t count, int32_t first_row) {
    constexpr int64_t kStride = 32;
    int64_t at = 0;
    for (; at + kStride <= count; at += kStride) {
      int any = 0;
      for (int64_t i = 0; i < kStride; ++i) any |= scores[at + i] >= threshold_ ? 1 : 0;
      if (any != 0) keep(scores, at, at + kStride, first_row);
    }
    keep(scores, at, count, first_row);
  }

  const std::vector<Entry>& finish() {
    prune();
    return entries_;
  }

 private:
  void keep(const float* scores, int64_t begin, int64_t end, int32_t first_row) {
    for (int64_t at = begin; at < end; ++at) {
      if (scores[at] < threshold_) continue;
      entries_.push_back({scores[at], first_row + static_cast<int32_t>(at)});
      if (entries_.size() >= limit_) prune();
    }
  }

  void prune() {
    if (entries_.size() <= k_) return;
    const auto kth = entries_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(entries_.begin(), kth, entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.score > b.score; });
    const double lowest = static_cast<double>(kth->score) - margin_;
    threshold_ = std::nextafter(static_cast<float>(lowest), -std::numeric_limits<float>::infinity());
    std::erase_if(entries_, [this](const Entry& entry) { return entry.score < threshold_; });
    limit_ = std::max(limit_, 2 * entries_.size());  // many near ties: pruning must stay rare
  }

  size_t k_;
  double margin_;
  size_t limit_;
  float threshold_ = std::numeric_limits<float>::lowest();  // what is masked has minus infinity
  std::vector<Entry> entries_;
};

double largest_finite_norm(const at::Tensor& vectors, const char* of) {
  const int64_t dim = vectors.size(1);
  const float* vector = vectors.const_data_ptr<float>();
  double largest = 0.0;
  for (int64_t i = 0; i < vectors.size(0); ++i) {
    const double norm = norm_of(vector + i * dim, dim);
    if (!std::isfinite(norm)) {
      throw ConfigError(concat("the vector of ", of, " ", i,
                               " is not finite: training has diverged; lower the learning ",
                               "rate or go on from an earlier checkpoint"));
    }
    largest = std::max(largest, norm);
  }
  return largest;
}

ItemShard restrict_to(ItemShard shard, std::span<const int32_t> candidates) {
  if (candidates.empty()) return shard;
  ItemShard kept;
  at::Tensor rows = at::empty({shard.size()}, at::kLong);
  auto* row = rows.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < shard.size(); ++i) {
    const int32_t place = shard.places[static_cast<size_t>(i)];
    if (!std::binary_search(candidates.begin(), candidates.end(), place)) continue;
    *row++ = i;
    kept.places.push_back(place);
    kept.keys.push_back(shard.keys[static_cast<size_t>(i)]);
  }
  kept.vectors = at::index_select(shard.vectors, 0, rows.narrow(0, 0, kept.size()));
  return kept;
}

void take_best(std::span<const ScoredItem> all, std::span<ScoredItem> best) {
  std::partial_sort_copy(all.begin(), all.end(), best.begin(), best.end(),
                         [](const ScoredItem& a, const ScoredItem& b) { return a.is_before(b); });
}

ShardSearch::ShardSearch(const ItemShard& shard, int64_t score_bytes) : shard_(shard), score_bytes_(score_bytes) {
  RONDO_CHECK(shard.vectors.scalar_type() == at::kFloat && shard.vectors.is_contiguous(), "item vectors");
  RONDO_CHECK_EQ(shard.vectors.size(0), shard.size());
  RONDO_CHECK_EQ(shard.keys.size(), shard.places.size());
  RONDO_CHECK(std::ranges::is_sorted(shard.places), "places of a shard");
  largest_norm_ = largest_finite_norm(shard.vectors, "item row");
}

std::vector<ScoredItem> ShardSearch::best(const UserChunk& chunk, int64_t k) const {
  const int64_t users = chunk.vectors.size(0), dim = chunk.vectors.size(1);
  std::vector<ScoredItem> best(static_cast<size_t>(users * k));
  if (users == 0 || shard_.size() == 0) return best;
  auto finalists = find_finalists(chunk, k);
  const float* user_vectors = chunk.vectors.const_data_ptr<float>();
  const float* item_vectors = shard_.vectors.const_data_ptr<float>();
  parallel_for(users, kUserGrain, [&](int64_t begin, int64_t end) {
    std::vector<ScoredItem> scored;
    for (int64_t user = begin; user < end; ++user) {
      scored.clear();
      for (const auto& entry : finalists[static_cast<size_t>(user)].finish()) {
        const auto row = static_cast<size_t>(entry.row);
        scored.push_back({shard_.keys[row], shard_.places[row],
                          exact_score(user_vectors + user * dim, item_vectors + entry.row * dim, dim)});
      }
      take_best(scored, std::span(best).subspan(static_cast<size_t>(user * k), static_cast<size_t>(k)));
    }
  });
  return best;
}

std::vector<ShardSearch::Finalists> ShardSearch::find_finalists(const UserChunk& chunk, int64_t k) const {
  const int64_t users = chunk.vectors.size(0), dim = chunk.vectors.size(1), items = shard_.size();
  std::vector<Finalists> finalists;
  for (int64_t user = 0; user < users; ++user) {
    const double norms = norm_of(chunk.vectors.const_data_ptr<float>() + user * dim, dim) * largest_norm_;
    if (!(norms < kLargestProduct)) throw ConfigError(concat("scores reach ", norms, ": training has diverged"));
    finalists.emplace_back(k, 2.0 * score_error(dim, norms));
  }
  const auto masked = masked_rows(chunk);
  const int64_t block = std::clamp<int64_t>(score_bytes_ / (users * 4), 1, items);
  const at::Tensor memory = at::empty({users * block}, at::kFloat);
  for (int64_t first = 0; first < items; first += block) {
    const int64_t count = std::min(block, items - first);
    at::Tensor scores = memory.narrow(0, 0, users * count).view({users, count});
    at::mm_out(scores, chunk.vectors, shard_.vectors.narrow(0, first, count).t());
    auto* all = scores.mutable_data_ptr<float>();
    parallel_for(users, kUserGrain, [&](int64_t begin, int64_t end) {
      for (int64_t user = begin; user < end; ++user) {
        float* score = all + user * count;
        const auto& rows = masked[static_cast<size_t>(user)];
        auto row = std::ranges::lower_bound(rows, static_cast<int32_t>(first));
        for (; row != rows.end() && *row < first + count; ++row) {
          score[*row - first] = -std::numeric_limits<float>::infinity();
        }
        finalists[static_cast<size_t>(user)].scan(score, count, static_cast<int32_t>(first));
      }
    });
  }
  return finalists;
}

std::vector<std::vector<int32_t>> ShardSearch::masked_rows(const UserChunk& chunk) const {
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(chunk.vectors.size(0)));
  parallel_for(chunk.vectors.size(0), kUserGrain, [&](int64_t begin, int64_t end) {
    for (auto user = static_cast<size_t>(begin); user < static_cast<size_t>(end); ++user) {
      for (int64_t at = chunk.masked_offsets[user]; at < chunk.masked_offsets[user + 1]; ++at) {
        const int32_t place = chunk.masked[static_cast<size_t>(at)];
        const auto found = std::ranges::lower_bound(shard_.places, place);
        if (found == shard_.places.end() || *found != place) continue;
        rows[user].push_back(static_cast<int32_t>(found - shard_.places.begin()));
      }
      std::ranges::sort(rows[user]);
    }
  });
  return rows;
}

}  // namespace rondo
