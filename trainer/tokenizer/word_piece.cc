#include "trainer/tokenizer/word_piece.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "trainer/storage/digest.h"

namespace rondo {

namespace {

constexpr int64_t kTextsPerRange = 256;

ByteTrie trie_of(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& entry = vocabulary.entry(id);
    if (!entry.empty() && vocabulary.find(entry) == id) entries.emplace_back(entry, id);
  }
  std::sort(entries.begin(), entries.end());
  return ByteTrie(entries);
}

std::string hash_of(const Vocabulary& vocabulary, const WordPieceOptions& options) {
  const NormalizerOptions& n = options.normalizer;
  // "clean_text" has no choice yet: named so that a hash stays what it is when it gets one.
  return sha256_hex(concat("WordPiece vocabulary=", vocabulary.hash(), " clean_text=1 lowercase=", n.lowercase,
                           " strip_accents=", n.strip_accents.value_or(n.lowercase), " handle_chinese_chars=",
                           n.handle_chinese_chars, " max_input_chars_per_word=", options.max_input_chars_per_word));
}

/// Tokens that may come from the texts.
size_t room(const EncodeOptions& options, int64_t specials) {
  if (options.max_tokens == 0) return std::numeric_limits<size_t>::max();
  if (!options.specials) specials = 0;
  if (options.max_tokens < specials) {
    throw ConfigError(concat("max_tokens must be 0 or at least ", specials, ", the special tokens of an encoding; got ",
                             options.max_tokens));
  }
  return static_cast<size_t>(options.max_tokens - specials);
}

/// Lengths of a pair that fit `room` together (truncation.rs of `tokenizers`, LongestFirst).
std::pair<size_t, size_t> longest_first(size_t first, size_t second, size_t room) {
  if (first + second <= room) return {first, second};
  const bool swapped = first > second;
  if (swapped) std::swap(first, second);
  second = first > room ? first : std::max(first, room - first);
  if (first + second > room) {
    first = room / 2;
    second = first + room % 2;
  }
  if (swapped) std::swap(first, second);
  return {first, second};
}

}  // namespace

void validate(const WordPieceOptions& options) {
  if (options.max_input_chars_per_word < 1) {
    throw ConfigError(
        concat("tokenizer.max_input_chars_per_word must be at least 1, got ", options.max_input_chars_per_word));
  }
}

WordPiece::WordPiece(Vocabulary vocabulary, const WordPieceOptions& options)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      rules_(options.normalizer, vocabulary_.special_ids()),
      trie_(trie_of(vocabulary_)),
      continuation_(trie_.node_of("##")),
      hash_(hash_of(vocabulary_, options)) {
  validate(options);
}

std::vector<int32_t> WordPiece::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> ids;
  WordReader reader(rules_);
  append(reader, text, options, ids);
  return ids;
}

WordPiece::Pair WordPiece::encode_pair(std::string_view first, std::string_view second,
                                       const EncodeOptions& options) const {
  constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
  const size_t limit = room(options, 3);
  WordReader reader(rules_);
  std::vector<int32_t> firsts;
  std::vector<int32_t> seconds;
  append_words(reader, first, kNoLimit, firsts);
  append_words(reader, second, kNoLimit, seconds);
  const auto [first_length, second_length] = longest_first(firsts.size(), seconds.size(), limit);

  Pair pair;
  if (options.specials) pair.ids.push_back(vocabulary_.cls());
  pair.ids.insert(pair.ids.end(), firsts.begin(), firsts.begin() + static_cast<std::ptrdiff_t>(first_length));
  if (options.specials) pair.ids.push_back(vocabulary_.sep());
  pair.first_length = static_cast<int64_t>(pair.ids.size());
  pair.ids.insert(pair.ids.end(), seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(second_length));
  if (options.specials) pair.ids.push_back(vocabulary_.sep());
  return pair;
}

TokenizedTexts WordPiece::encode_batch(const TextsView& texts, const EncodeOptions& options) const {
  room(options, 2);
  const int64_t count = texts.size();
  std::vector<std::vector<int32_t>> parts(static_cast<size_t>((count + kTextsPerRange - 1) / kTextsPerRange));
  TokenizedTexts result;
  result.offsets.resize(static_cast<size_t>(count) + 1);
  parallel_for(count, kTextsPerRange, [&](int64_t begin, int64_t end) {
    std::vector<int32_t>& ids = parts[static_cast<size_t>(begin / kTextsPerRange)];
    WordReader reader(rules_);
    for (int64_t i = begin; i < end; ++i) {
      append(reader, texts.at(i), options, ids);
      result.offsets[static_cast<size_t>(i) + 1] = static_cast<int64_t>(ids.size());  // within its part
    }
  });
  int64_t total = 0;
  for (size_t part = 0; part < parts.size(); ++part) {
    const int64_t begin = static_cast<int64_t>(part) * kTextsPerRange;
    const int64_t end = std::min(count, begin + kTextsPerRange);
    for (int64_t i = begin; i < end; ++i) result.offsets[static_cast<size_t>(i) + 1] += total;
    total += static_cast<int64_t>(parts[part].size());
  }
  result.ids.reserve(static_cast<size_t>(total));
  for (const auto& ids : parts) result.ids.insert(result.ids.end(), ids.begin(), ids.end());
  return result;
}

void WordPiece::append(WordReader& reader, std::string_view text, const EncodeOptions& options,
                       std::vector<int32_t>& ids) const {
  const size_t limit = room(options, 2);
  if (options.specials) ids.push_back(vocabulary_.cls());
  append_words(reader, text, limit, ids);
  if (options.specials) ids.push_back(vocabulary_.sep());
}

void WordPiece::append_words(WordReader& reader, std::string_view text, size_t limit, std::vector<int32_t>& ids) const {
  const size_t begin = ids.size();
  reader.reset(text);
  while (ids.size() - begin < limit) {
    const WordReader::Kind kind = reader.next();
    if (kind == WordReader::Kind::kEnd) return;
    if (kind == WordReader::Kind::kSpecial) {
      ids.push_back(reader.special());
    } else {
      append_word(reader, ids);
    }
  }
  ids.resize(begin + limit);
}

void WordPiece::append_word(const WordReader& reader, std::vector<int32_t>& ids) const {
  if (reader.code_points() > options_.max_input_chars_per_word) {
    ids.push_back(vocabulary_.unknown());
    return;
  }
  const size_t begin = ids.size();
  std::string_view rest = reader.word();
  int32_t node = ByteTrie::kRoot;
  while (!rest.empty()) {
    const ByteTrie::Match piece = trie_.longest(node, rest);
    if (piece.length == 0) {
      ids.resize(begin);
      ids.push_back(vocabulary_.unknown());
      return;
    }
    ids.push_back(piece.value);
    rest.remove_prefix(piece.length);
    node = continuation_;
  }
}

}  // namespace rondo
