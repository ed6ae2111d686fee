#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rondo {

/// Texts as tokens, one after the other, no padding.
struct PackedTexts {
  std::vector<int32_t> tokens;      // [total], with [CLS] and [SEP]
  std::vector<int64_t> offsets{0};  // [texts + 1]
  std::vector<uint64_t> digests;    // [texts], hash of a text's tokens: the key of its dropout

  int64_t size() const { return static_cast<int64_t>(digests.size()); }
  std::span<const int32_t> text(int64_t i) const {
    const auto begin = static_cast<size_t>(offsets[static_cast<size_t>(i)]);
    return std::span(tokens).subspan(begin, static_cast<size_t>(offsets[static_cast<size_t>(i) + 1]) - begin);
  }
};

/// Hash of a text's tokens; the same on every machine.
uint64_t text_digest(std::span<const int32_t> tokens);

/// Adds one text at the end.
void append_text(std::span<const int32_t> tokens, PackedTexts& texts);

PackedTexts pack_texts(std::span<const std::span<const int32_t>> texts);

/// Cuts texts, in their order, into pieces of about equally many tokens: as few pairs of pieces as hold no more than
/// about `most_tokens` each, and no empty piece. A pure function of its arguments.
std::vector<PackedTexts> cut_texts(const PackedTexts& texts, int64_t most_tokens);

/// The distinct texts of a batch, in the order of their first occurrence, and the way back.
struct DistinctTexts {
  PackedTexts texts;
  std::vector<int64_t> places;  // [texts of the batch]: which distinct text each is
};

/// Texts are the same when their tokens are.
DistinctTexts distinct_texts(std::span<const std::span<const int32_t>> texts);

}  // namespace rondo
