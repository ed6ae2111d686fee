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

ByteTrie trie_of(const Vocabulary& vocabulary, int64_t pieces) {
  std::vector<std::pair<std::string_view, int32_t>> entries;
  const int64_t count = pieces > 0 ? std::min<int64_t>(pieces, vocabulary.size()) : vocabulary.size();
  for (int32_t id = 0; id < count; ++id) {
    const std::string& entry = vocabulary.entry(id);
    if (!entry.empty() && vocabulary.find(entry) == id) entries.emplace_back(entry, id);
  }
  std::sort(entries.begin(), entries.end());
  return ByteTrie(entries);
}

/// The added tokens with their ids.
AddedTokenFinder::Tokens added_tokens(const Vocabulary& vocabulary, const WordPieceOptions& options) {
  AddedTokenFinder::Tokens tokens;
  if (!options.added_tokens) {
    for (const auto& [content, id] : vocabulary.special_ids()) tokens.emplace_back(AddedToken{content}, id);
    return tokens;
  }
  for (const AddedToken& token : *options.added_tokens) {
    const int32_t id = vocabulary.find(token.content);
    if (id < 0) throw DataError(concat("added token \"", token.content, "\" is not in the vocabulary"));
    tokens.emplace_back(token, id);
  }
  return tokens;
}

/// Whether WordReader finds them all by itself.
bool reader_finds(const AddedTokenFinder::Tokens& tokens) {
  return std::all_of(tokens.begin(), tokens.end(), [](const auto& token) {
    return !token.first.normalized && WordRules::may_be_special(token.first.content);
  });
}

WordRules rules_of(const Vocabulary& vocabulary, const WordPieceOptions& options) {
  WordRules::SpecialTokens specials;
  const auto tokens = added_tokens(vocabulary, options);
  if (reader_finds(tokens)) {
    for (const auto& [token, id] : tokens) specials.emplace_back(token.content, id);
  }
  return WordRules(options.normalizer, std::move(specials));
}

std::unique_ptr<const AddedTokenFinder> finder_of(const Vocabulary& vocabulary, const WordPieceOptions& options,
                                                  const WordRules& rules) {
  const auto tokens = added_tokens(vocabulary, options);
  return reader_finds(tokens) ? nullptr : std::make_unique<const AddedTokenFinder>(tokens, rules);
}

/// What is beyond the special tokens of the vocabulary, as text; empty where nothing is.
std::string text_of_added(const Vocabulary& vocabulary, const WordPieceOptions& options) {
  std::string text;
  if (options.piece_entries > 0 && options.piece_entries < vocabulary.size()) {
    text += concat(" piece_entries=", options.piece_entries);
  }
  const auto by_id = [](AddedTokenFinder::Tokens tokens) {
    std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    std::string ids;
    for (const auto& [token, id] : tokens) ids += concat(" added=", id, token.normalized ? "n" : "");
    return ids;
  };
  const std::string own = by_id(added_tokens(vocabulary, options));
  return own == by_id(added_tokens(vocabulary, {})) ? text : text + own + " end";
}

std::string hash_of(const Vocabulary& vocabulary, const WordPieceOptions& options) {
  const NormalizerOptions& n = options.normalizer;
  // "clean_text" has no choice yet: named so that a hash stays what it is when it gets one.
  return sha256_hex(
      concat("WordPiece vocabulary=", vocabulary.hash(), " clean_text=1 lowercase=", n.lowercase,
             " strip_accents=", n.strip_accents.value_or(n.lowercase), " handle_chinese_chars=", n.handle_chinese_chars,
             " max_input_chars_per_word=", options.max_input_chars_per_word, text_of_added(vocabulary, options)));
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
  if (options.piece_entries < 0) {
    throw ConfigError(concat("tokenizer.piece_entries must be 0 or more, got ", options.piece_entries));
  }
}

WordPiece::WordPiece(Vocabulary vocabulary, const WordPieceOptions& options)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      rules_(rules_of(vocabulary_, options)),
      finder_(finder_of(vocabulary_, options, rules_)),
      trie_(trie_of(vocabulary_, options.piece_entries)),
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
  const size_t end = limit > ids.max_size() ? limit : ids.size() + limit;
  if (!finder_) {
    read_words(reader, text, end, ids);
  } else {
    for (const AddedTokenFinder::Segment& segment : finder_->split(text)) {
      if (ids.size() >= end) break;
      if (segment.id >= 0) {
        ids.push_back(segment.id);
      } else {
        read_words(reader, segment.text, end, ids);
      }
    }
  }
  if (ids.size() > end) ids.resize(end);
}

/// Adds the tokens of a text's words, the last one whole, until there are `end` or more.
void WordPiece::read_words(WordReader& reader, std::string_view text, size_t end, std::vector<int32_t>& ids) const {
  reader.reset(text);
  while (ids.size() < end) {
    const WordReader::Kind kind = reader.next();
    if (kind == WordReader::Kind::kEnd) return;
    if (kind == WordReader::Kind::kSpecial) {
      ids.push_back(reader.special());
    } else {
      append_word(reader, ids);
    }
  }
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
