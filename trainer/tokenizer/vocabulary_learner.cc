#include "trainer/tokenizer/vocabulary_learner.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/hash.h"
#include "sharding/base/utf8.h"

namespace rondo {

namespace {

constexpr int32_t kForeign = -1;  // a character outside the alphabet

struct CountedWord {
  std::string_view word;
  int64_t count;
};

WordRules::SpecialTokens all_special_tokens() {
  WordRules::SpecialTokens tokens;
  for (const std::string& token : Vocabulary::special_tokens()) {
    tokens.emplace_back(token, static_cast<int32_t>(tokens.size()));
  }
  return tokens;
}

std::vector<std::string_view> characters_of(std::string_view word) {
  std::vector<std::string_view> characters;
  char32_t ignored = 0;
  while (!word.empty()) {
    const auto length = static_cast<size_t>(decode_utf8(word.data(), static_cast<int64_t>(word.size()), ignored));
    characters.push_back(word.substr(0, length));
    word.remove_prefix(length);
  }
  return characters;
}

/// The most frequent characters, in the order of code points (which is that of UTF-8 bytes).
std::set<std::string_view> alphabet_of(const std::vector<CountedWord>& words, size_t limit) {
  std::map<std::string_view, int64_t> counts;
  for (const auto& [word, count] : words) {
    for (const auto character : characters_of(word)) counts[character] += count;
  }
  std::vector<std::pair<std::string_view, int64_t>> by_count(counts.begin(), counts.end());
  std::stable_sort(by_count.begin(), by_count.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  if (by_count.size() > limit) by_count.resize(limit);
  std::set<std::string_view> alphabet;
  for (const auto& [character, count] : by_count) alphabet.insert(character);
  return alphabet;
}

/// The entries so far and the words as sequences of them.
class Merger {
 public:
  Merger(const std::vector<CountedWord>& words, size_t size, int64_t min_frequency)
      : size_(size), min_frequency_(min_frequency) {
    for (const std::string& token : Vocabulary::special_tokens()) id_of(token);
    words_.reserve(words.size());
    for (const auto& [word, count] : words) words_.push_back({{}, count});
  }

  void spell(const std::vector<CountedWord>& words, const std::set<std::string_view>& alphabet) {
    for (const auto character : alphabet) id_of(std::string(character));
    std::set<std::string_view> later;  // characters that stand behind another
    for (const auto& [word, count] : words) {
      const auto characters = characters_of(word);
      for (size_t i = 1; i < characters.size(); ++i) {
        if (alphabet.contains(characters[i])) later.insert(characters[i]);
      }
    }
    for (const auto character : later) id_of("##" + std::string(character));
    for (size_t w = 0; w < words.size(); ++w) {
      for (const auto character : characters_of(words[w].word)) {
        const bool first = words_[w].symbols.empty();
        words_[w].symbols.push_back(
            !alphabet.contains(character) ? kForeign : id_of((first ? "" : "##") + std::string(character)));
      }
      count_pairs(static_cast<int32_t>(w), 1);
    }
    queue_touched();
  }

  std::vector<std::string> run() {
    while (entries_.size() < size_ && !candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      const int64_t count = pairs_.at(best.pair).count;
      if (best.count == count) {
        if (count < min_frequency_) break;
        merge(best.pair);
      } else if (best.count > count && count > 0) {
        candidates_.push({best.pair, count, best.left, best.right});
      }
    }
    return std::move(entries_);
  }

 private:
  using Pair = std::pair<int32_t, int32_t>;

  struct PairHash {
    size_t operator()(const Pair& pair) const {
      return mix64((static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32) |
                   static_cast<uint32_t>(pair.second));
    }
  };
  struct Word {
    std::vector<int32_t> symbols;
    int64_t count;
  };
  struct Occurrences {
    int64_t count = 0;
    std::vector<int32_t> words;  // where it occurs or did
  };
  /// `count` may be outdated: too high for a pair that lost occurrences, too low for one that has a newer candidate.
  struct Candidate {
    Pair pair;
    int64_t count;
    const std::string* left;
    const std::string* right;

    /// Whether `other` is taken before this one.
    bool operator<(const Candidate& other) const {
      if (count != other.count) return count < other.count;
      const int order = left->compare(*other.left);
      return order != 0 ? order > 0 : *right > *other.right;
    }
  };

  int32_t id_of(const std::string& entry) {
    const auto [at, is_new] = ids_.try_emplace(entry, static_cast<int32_t>(entries_.size()));
    if (is_new) {
      entries_.push_back(entry);
      names_.push_back(&at->first);
    }
    return at->second;
  }

  /// Adds (sign 1) or takes away (-1) what a word contributes to its pairs.
  void count_pairs(int32_t w, int64_t sign) {
    const Word& word = words_[static_cast<size_t>(w)];
    for (size_t i = 1; i < word.symbols.size(); ++i) {
      const Pair pair{word.symbols[i - 1], word.symbols[i]};
      if (pair.first == kForeign || pair.second == kForeign) continue;
      Occurrences& occurrences = pairs_[pair];
      occurrences.count += sign * word.count;
      if (sign < 0) continue;
      if (occurrences.words.empty() || occurrences.words.back() != w) occurrences.words.push_back(w);
      touched_.push_back(pair);
    }
  }

  /// New candidates for the pairs that gained occurrences.
  void queue_touched() {
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (const Pair& pair : touched_) {
      candidates_.push({pair, pairs_.at(pair).count, names_[static_cast<size_t>(pair.first)],
                        names_[static_cast<size_t>(pair.second)]});
    }
    touched_.clear();
  }

  void merge(const Pair pair) {
    const auto& right = *names_[static_cast<size_t>(pair.second)];
    const int32_t merged = id_of(*names_[static_cast<size_t>(pair.first)] + right.substr(2));  // without "##"
    std::vector<int32_t> where = std::move(pairs_.at(pair).words);
    pairs_.at(pair).words.clear();
    std::sort(where.begin(), where.end());
    where.erase(std::unique(where.begin(), where.end()), where.end());
    for (const int32_t w : where) {
      count_pairs(w, -1);
      replace(words_[static_cast<size_t>(w)].symbols, pair, merged);
      count_pairs(w, 1);
    }
    queue_touched();
  }

  static void replace(std::vector<int32_t>& symbols, const Pair& pair, int32_t merged) {
    size_t out = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      if (i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second) {
        symbols[out++] = merged;
        ++i;
      } else {
        symbols[out++] = symbols[i];
      }
    }
    symbols.resize(out);
  }

  size_t size_;
  int64_t min_frequency_;
  std::vector<std::string> entries_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<const std::string*> names_;  // [entries], keys of ids_
  std::vector<Word> words_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::vector<Pair> touched_;
  std::priority_queue<Candidate> candidates_;
};

void require(const char* name, int64_t value, int64_t least) {
  if (value < least) throw ConfigError(concat("vocabulary.", name, " must be at least ", least, ", got ", value));
}

}  // namespace

void validate(const VocabularyLearnerOptions& options) {
  require("size", options.size, 16);
  require("min_frequency", options.min_frequency, 1);
  require("limit_alphabet", options.limit_alphabet, 1);
  require("max_input_chars_per_word", options.max_input_chars_per_word, 1);
}

VocabularyLearner::VocabularyLearner(const VocabularyLearnerOptions& options)
    : options_(options), rules_(options.normalizer, all_special_tokens()), reader_(rules_) {
  validate(options);
}

void VocabularyLearner::add(std::string_view text) {
  reader_.reset(text);
  while (true) {
    const WordReader::Kind kind = reader_.next();
    if (kind == WordReader::Kind::kEnd) return;
    if (kind == WordReader::Kind::kSpecial || reader_.code_points() > options_.max_input_chars_per_word) continue;
    const auto found = counts_.find(reader_.word());
    if (found == counts_.end()) {
      counts_.emplace(reader_.word(), 1);
    } else {
      ++found->second;
    }
  }
}

void VocabularyLearner::add(const TextsView& texts) {
  for (int64_t i = 0; i < texts.size(); ++i) add(texts.at(i));
}

Vocabulary VocabularyLearner::learn() const {
  std::vector<CountedWord> words;
  words.reserve(counts_.size());
  for (const auto& [word, count] : counts_) words.push_back({word, count});
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.word < b.word; });
  // Each character takes up to two entries.
  const auto fitting = (options_.size - static_cast<int64_t>(Vocabulary::special_tokens().size())) / 2;
  const auto alphabet = alphabet_of(words, static_cast<size_t>(std::min(options_.limit_alphabet, fitting)));
  Merger merger(words, static_cast<size_t>(options_.size), options_.min_frequency);
  merger.spell(words, alphabet);
  return Vocabulary(merger.run(), "learned vocabulary");
}

}  // namespace rondo
