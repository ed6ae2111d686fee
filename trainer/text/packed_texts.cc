#include "trainer/text/packed_texts.h"

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

size_t place(int64_t i) { return static_cast<size_t>(i); }

}  // namespace

uint64_t text_digest(std::span<const int32_t> tokens) {
  return hash_bytes({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
}

void append_text(std::span<const int32_t> tokens, PackedTexts& texts) {
  texts.tokens.insert(texts.tokens.end(), tokens.begin(), tokens.end());
  texts.offsets.push_back(static_cast<int64_t>(texts.tokens.size()));
  texts.digests.push_back(text_digest(tokens));
}

PackedTexts pack_texts(std::span<const std::span<const int32_t>> texts) {
  PackedTexts packed;
  for (const auto& text : texts) append_text(text, packed);
  return packed;
}

std::vector<PackedTexts> cut_texts(const PackedTexts& texts, int64_t most_tokens) {
  RONDO_CHECK_GE(most_tokens, 1);
  const auto total = static_cast<int64_t>(texts.tokens.size());
  const int64_t pieces = 2 * std::max<int64_t>(1, (total + 2 * most_tokens - 1) / (2 * most_tokens));
  std::vector<PackedTexts> result;
  int64_t next = 0;
  for (int64_t piece = 1; piece <= pieces; ++piece) {
    PackedTexts part;
    // A text goes to the piece that holds its middle token.
    const auto middle = [&](int64_t i) { return texts.offsets[place(i)] + texts.offsets[place(i + 1)]; };
    for (; next < texts.size() && middle(next) * pieces <= 2 * piece * total; ++next) {
      const auto tokens = texts.text(next);
      part.tokens.insert(part.tokens.end(), tokens.begin(), tokens.end());
      part.offsets.push_back(static_cast<int64_t>(part.tokens.size()));
      part.digests.push_back(texts.digests[place(next)]);
    }
    if (part.size() > 0) result.push_back(std::move(part));
  }
  return result;
}

DistinctTexts distinct_texts(std::span<const std::span<const int32_t>> texts) {
  DistinctTexts distinct;
  distinct.places.reserve(texts.size());
  const uint64_t mask = std::bit_ceil(2 * texts.size() + 1) - 1;
  std::vector<int64_t> slots(mask + 1, -1);  // open addressing by digest
  for (const auto& text : texts) {
    const uint64_t digest = text_digest(text);
    uint64_t slot = mix64(digest) & mask;
    while (slots[slot] >= 0 && !std::ranges::equal(distinct.texts.text(slots[slot]), text)) slot = (slot + 1) & mask;
    if (slots[slot] < 0) {
      slots[slot] = distinct.texts.size();
      append_text(text, distinct.texts);
    }
    distinct.places.push_back(slots[slot]);
  }
  return distinct;
}

}  // namespace rondo
