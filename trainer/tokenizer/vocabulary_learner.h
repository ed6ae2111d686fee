#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "trainer/tokenizer/vocabulary.h"
#include "trainer/tokenizer/word_piece.h"
#include "trainer/tokenizer/word_reader.h"

namespace rondo {

struct VocabularyLearnerOptions {
  /// Entries at most, special tokens included. At least 16.
  int64_t size = 8000;

  /// As the tokenizer that will use the vocabulary.
  NormalizerOptions normalizer = {};

  /// A pair that occurs less often is not merged. At least 1.
  int64_t min_frequency = 2;

  /// Characters at most, the most frequent ones; a word with another one is [UNK]. At least 1.
  int64_t limit_alphabet = 1000;

  /// Longer words, in code points, teach nothing: they are [UNK] anyway. At least 1.
  int64_t max_input_chars_per_word = 100;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const VocabularyLearnerOptions& options);

/// Learns a WordPiece vocabulary as `WordPieceTrainer` of Hugging Face's `tokenizers` does: the special tokens, the
/// characters, the characters with "##", then the most frequent pair of neighbours within words becomes one entry,
/// again and again (Sennrich et al. 2016). Where pairs are equally frequent the one whose strings come first (by bytes)
/// is taken, so that the result depends on the words and their counts alone. A merge never crosses a character outside
/// the alphabet.
///
/// Holds the distinct words, not the texts. One thread.
class VocabularyLearner {
 public:
  explicit VocabularyLearner(const VocabularyLearnerOptions& options);
  VocabularyLearner(const VocabularyLearner&) = delete;
  VocabularyLearner& operator=(const VocabularyLearner&) = delete;

  void add(std::string_view text);
  void add(const TextsView& texts);

  Vocabulary learn() const;

 private:
  struct BytesHash {
    using is_transparent = void;
    size_t operator()(std::string_view bytes) const { return std::hash<std::string_view>{}(bytes); }
  };

  VocabularyLearnerOptions options_;
  WordRules rules_;
  WordReader reader_;
  std::unordered_map<std::string, int64_t, BytesHash, std::equal_to<>> counts_;  // by word
};

}  // namespace rondo
