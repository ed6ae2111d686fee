#include "trainer/text/text_dealing.h"

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"

namespace rondo {

double TextDeal::imbalance() const {
  const int64_t total = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
  if (total == 0) return 0.0;
  const int64_t most = *std::max_element(tokens.begin(), tokens.end());
  return static_cast<double>(most) * static_cast<double>(tokens.size()) / static_cast<double>(total) - 1.0;
}

TextDeal deal_texts(const PackedTexts& texts, int world) {
  RONDO_CHECK_GE(world, 1);
  std::vector<int64_t> order(static_cast<size_t>(texts.size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return texts.text(a).size() > texts.text(b).size(); });
  const auto ranks = static_cast<size_t>(world);
  TextDeal deal{std::vector<std::vector<int64_t>>(ranks), std::vector<int64_t>(ranks), std::vector<int64_t>(ranks),
                std::vector<int64_t>(order.size())};
  for (const int64_t place : order) {
    const auto least = std::min_element(deal.tokens.begin(), deal.tokens.end());
    *least += static_cast<int64_t>(texts.text(place).size());
    deal.texts[static_cast<size_t>(least - deal.tokens.begin())].push_back(place);
  }
  int64_t row = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    deal.rows[rank] = static_cast<int64_t>(deal.texts[rank].size());
    for (const int64_t place : deal.texts[rank]) deal.row_of[static_cast<size_t>(place)] = row++;
  }
  return deal;
}

PackedTexts select_texts(const PackedTexts& texts, const std::vector<int64_t>& places) {
  PackedTexts selected;
  for (const int64_t place : places) {
    const auto tokens = texts.text(place);
    selected.tokens.insert(selected.tokens.end(), tokens.begin(), tokens.end());
    selected.offsets.push_back(static_cast<int64_t>(selected.tokens.size()));
    selected.digests.push_back(texts.digests[static_cast<size_t>(place)]);
  }
  return selected;
}

}  // namespace rondo
