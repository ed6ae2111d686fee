#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/tokenizer/added_tokens.h"
#include "trainer/tokenizer/byte_trie.h"
#include "trainer/tokenizer/vocabulary.h"
#include "trainer/tokenizer/word_reader.h"

namespace rondo {

struct WordPieceOptions {
  NormalizerOptions normalizer = {};

  /// A word of more code points is [UNK]. At least 1.
  int64_t max_input_chars_per_word = 100;

  /// Tokens that are found before a text falls into words. Unset: the special tokens that the vocabulary holds.
  std::optional<std::vector<AddedToken>> added_tokens = {};

  /// Words are cut into the first so many entries of the vocabulary; behind them are added tokens alone. 0: all.
  int64_t piece_entries = 0;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const WordPieceOptions& options);

/// What an encoding has besides the text's own tokens, and how long it may be.
struct EncodeOptions {
  /// [CLS] in front and [SEP] behind.
  bool specials = true;

  /// Cut to this many tokens, specials included; 0: never. At least 2 with specials (3 for a pair).
  int64_t max_tokens = 0;
};

/// Texts as tokens, one after the other: text i is ids [offsets[i], offsets[i + 1]).
struct TokenizedTexts {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
};

/// Texts, one after the other, that somebody else holds: text i is bytes [offsets[i], offsets[i + 1]).
struct TextsView {
  std::span<const uint8_t> bytes;
  std::span<const int64_t> offsets;  // [n + 1]

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
  std::string_view at(int64_t i) const {
    const int64_t begin = offsets[static_cast<size_t>(i)];
    return {reinterpret_cast<const char*>(bytes.data()) + begin,
            static_cast<size_t>(offsets[static_cast<size_t>(i) + 1] - begin)};
  }
};

/// BERT's WordPiece (Devlin et al. 2019), token by token what Hugging Face's "fast" tokenizer gives: each word of
/// WordReader is cut greedily into the longest entries, those after the first with "##"; a word that cannot be cut
/// is [UNK]. Immutable; any thread.
class WordPiece {
 public:
  /// Throws DataError for an added token that the vocabulary lacks.
  explicit WordPiece(Vocabulary vocabulary, const WordPieceOptions& options = {});
  WordPiece(const WordPiece&) = delete;
  WordPiece& operator=(const WordPiece&) = delete;

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// [CLS] first [SEP] second [SEP], cut as Hugging Face's `longest_first`; without specials just both.
  struct Pair {
    std::vector<int32_t> ids;
    int64_t first_length;  // tokens of type 0; the rest is of type 1
  };
  Pair encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options = {}) const;

  /// All texts, in parallel.
  TokenizedTexts encode_batch(const TextsView& texts, const EncodeOptions& options = {}) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const WordPieceOptions& options() const { return options_; }

  /// SHA-256 over the vocabulary and the options, hexadecimal: two tokenizers with one hash give the same tokens.
  /// It travels with datasets and checkpoints.
  const std::string& hash() const { return hash_; }

 private:
  void append(WordReader& reader, std::string_view text, const EncodeOptions& options, std::vector<int32_t>& ids) const;
  void append_words(WordReader& reader, std::string_view text, size_t limit, std::vector<int32_t>& ids) const;
  void read_words(WordReader& reader, std::string_view text, size_t end, std::vector<int32_t>& ids) const;
  void append_word(const WordReader& reader, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  WordRules rules_;
  std::unique_ptr<const AddedTokenFinder> finder_;  // only for added tokens that the reader cannot find itself
  ByteTrie trie_;
  int32_t continuation_;  // the trie's node of "##"
  std::string hash_;
};

}  // namespace rondo
