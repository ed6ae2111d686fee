#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo {

/// What BERT's normaliser does to a text; names as in Hugging Face's tokenizer.json.
struct NormalizerOptions {
  bool lowercase = true;

  /// Decompose (NFD) and drop non-spacing marks. Unset: as `lowercase`.
  std::optional<bool> strip_accents = {};

  /// A CJK ideograph is a word of its own.
  bool handle_chinese_chars = true;
};

/// How texts fall into words: the normaliser's options, and the special tokens that are found in the raw text.
/// Immutable.
class WordRules {
 public:
  /// Special tokens with their ids; each starts with a punctuation mark of ASCII.
  using SpecialTokens = std::vector<std::pair<std::string, int32_t>>;

  WordRules(const NormalizerOptions& options, SpecialTokens special_tokens);

  /// Whether a special token may be called so.
  static bool may_be_special(std::string_view token);

 private:
  friend class WordReader;

  enum class AsciiKind : uint8_t { kWord, kSpace, kPunctuation, kDropped };

  /// The longest special token that `rest` starts with, or nullptr.
  const SpecialTokens::value_type* special_at(std::string_view rest) const;

  bool lowercase_;
  bool strip_accents_;
  bool handle_chinese_chars_;
  SpecialTokens special_tokens_;
  std::array<AsciiKind, 128> ascii_kinds_;
  std::array<char, 256> ascii_letters_{};  // what a byte of a word becomes; 0: not an ASCII byte of a word
};

/// Reads the words of a text as Hugging Face's "fast" BERT tokenizer sees them (`BertNormalizer`, `BertPreTokenizer` of
/// tokenizers 0.23.3), code point by code point: special tokens of the raw text, cleaning, CJK spacing, NFD without
/// non-spacing marks, lower case; then white space separates and each punctuation mark is a word.
///
/// Any bytes are legal: what is not UTF-8 reads as U+FFFD, which cleaning drops. Buffers are kept from text to text.
/// One thread.
class WordReader {
 public:
  enum class Kind : uint8_t { kEnd, kWord, kSpecial };

  /// REQUIRES: `rules` outlives the reader.
  explicit WordReader(const WordRules& rules) : rules_(rules) {}

  /// Starts at the beginning of `text`, which must outlive the reading.
  void reset(std::string_view text);

  Kind next();

  /// After kWord: normalised, UTF-8, not empty; until the next call.
  std::string_view word() const { return {word_.data(), size_}; }

  /// After kWord: its length in code points.
  int64_t code_points() const { return code_points_; }

  /// After kSpecial: the token's id.
  int32_t special() const { return special_; }

  /// The whole of `text` after cleaning, CJK spacing, NFD without marks and lower case, before it falls into words;
  /// special tokens are text like any other. Ends a reading.
  void normalize(std::string_view text, std::string& out);

 private:
  Kind end_of_word() const { return size_ > 0 ? Kind::kWord : Kind::kEnd; }
  Kind take_ascii_punctuation();
  void read_ascii_letters();
  bool take_queued();
  void read_beyond_ascii();
  bool decode(char32_t& code_point);
  bool decompose(char32_t code_point);
  void gather_marks();
  void order_marks();
  void lower_queue();
  void append(char32_t code_point);
  void reserve(size_t bytes);

  const WordRules& rules_;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  std::vector<char> word_;
  size_t size_ = 0;
  int64_t code_points_ = 0;
  int32_t special_ = -1;
  std::vector<char32_t> queue_;  // normalised code points that are still to be split
  size_t queue_at_ = 0;
};

}  // namespace rondo
