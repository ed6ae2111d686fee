#include "trainer/tokenizer/vocabulary_learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

using Symbols = std::vector<std::string>;

/// Counts all pairs anew for each merge; ASCII words of lower-case letters only.
std::vector<std::string> plain_learner(const std::map<std::string, int64_t>& words, size_t size,
                                       int64_t min_frequency) {
  std::vector<std::string> entries = Vocabulary::special_tokens();
  std::set<std::string> firsts;
  std::set<std::string> later;
  std::vector<std::pair<Symbols, int64_t>> spelled;
  for (const auto& [word, count] : words) {
    Symbols symbols;
    for (const char letter : word) {
      firsts.insert(std::string(1, letter));
      symbols.push_back((symbols.empty() ? "" : "##") + std::string(1, letter));
      if (symbols.size() > 1) later.insert(symbols.back());
    }
    spelled.emplace_back(symbols, count);
  }
  entries.insert(entries.end(), firsts.begin(), firsts.end());
  entries.insert(entries.end(), later.begin(), later.end());
  while (entries.size() < size) {
    std::map<std::pair<std::string, std::string>, int64_t> counts;
    for (const auto& [symbols, count] : spelled) {
      for (size_t i = 1; i < symbols.size(); ++i) counts[{symbols[i - 1], symbols[i]}] += count;
    }
    if (counts.empty()) break;
    const auto best = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second < b.second : a.first > b.first;
    });
    if (best->second < min_frequency) break;
    const auto [left, right] = best->first;
    const std::string merged = left + right.substr(2);
    if (std::find(entries.begin(), entries.end(), merged) == entries.end()) entries.push_back(merged);
    for (auto& [symbols, count] : spelled) {
      for (size_t i = 1; i < symbols.size(); ++i) {
        if (symbols[i - 1] != left || symbols[i] != right) continue;
        symbols[i - 1] = merged;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }
  return entries;
}

std::vector<std::string> entries_of(const Vocabulary& vocabulary) {
  std::vector<std::string> entries;
  for (int32_t id = 0; id < vocabulary.size(); ++id) entries.push_back(vocabulary.entry(id));
  return entries;
}

TEST(VocabularyLearner, AgreesWithAPlainOne) {
  for (uint64_t round = 0; round < 6; ++round) {
    const CounterRandom random(11, round, RandomPurpose::kTest);
    const uint64_t letters = 1 + round;
    VocabularyLearner learner({.size = 90, .min_frequency = static_cast<int64_t>(1 + round % 3)});
    std::map<std::string, int64_t> words;
    for (uint64_t i = 0; i < 400; ++i) {
      std::string word(1 + random.below(7, i, 0), '\0');
      for (size_t k = 0; k < word.size(); ++k) word[k] = static_cast<char>('a' + random.below(letters, i, k + 1));
      ++words[word];
      learner.add(word);
    }
    EXPECT_EQ(entries_of(learner.learn()), plain_learner(words, 90, static_cast<int64_t>(1 + round % 3))) << round;
  }
}

TEST(VocabularyLearner, DoesNotDependOnTheOrderOfTexts) {
  const std::vector<std::string> texts = {"White hanging heart holder",    "white metal lantern",
                                          "cream heart coat hanger",       "knitted hot water bottle",
                                          "red woolly hottie white heart", "glass star"};
  VocabularyLearner forward({.size = 120});
  VocabularyLearner backward({.size = 120});
  for (size_t i = 0; i < texts.size(); ++i) {
    forward.add(texts[i]);
    backward.add(texts[texts.size() - 1 - i]);
  }
  EXPECT_EQ(forward.learn().text(), backward.learn().text());
}

TEST(VocabularyLearner, BeginsWithSpecialTokensAndKeepsThemOutOfTheWords) {
  VocabularyLearner learner({.size = 64});
  learner.add("[MASK] [CLS] aa");
  const auto vocabulary = learner.learn();
  EXPECT_THAT(entries_of(vocabulary), testing::ElementsAre("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a"));
}

TEST(VocabularyLearner, LearnsFromNothing) { EXPECT_EQ(VocabularyLearner({.size = 64}).learn().size(), 5); }

TEST(VocabularyLearner, KeepsTheMostFrequentCharacters) {
  VocabularyLearner learner({.size = 64, .min_frequency = 1, .limit_alphabet = 2});
  for (int i = 0; i < 3; ++i) learner.add("bb aa");
  learner.add("acb");  // c is left out, and nothing is merged across it
  const auto entries = entries_of(learner.learn());
  EXPECT_THAT(entries, testing::IsSupersetOf({"a", "b", "##a", "##b", "aa", "bb"}));
  EXPECT_THAT(entries, testing::Not(testing::Contains(HasSubstr("c"))));
  EXPECT_THAT(entries, testing::Not(testing::Contains("ab")));
}

TEST(VocabularyLearner, NeverExceedsItsSize) {
  VocabularyLearner learner({.size = 16});
  learner.add("abcdefghijklmnopqrstuvwxyz zyxwvutsrqponmlkjihgfedcba");
  EXPECT_LE(learner.learn().size(), 16);
}

TEST(VocabularyLearner, SaysWhichOptionIsWrong) {
  const auto message = [](const VocabularyLearnerOptions& options) -> std::string {
    try {
      validate(options);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message({}), "accepted");
  EXPECT_EQ(message({.size = 15}), "vocabulary.size must be at least 16, got 15");
  EXPECT_EQ(message({.min_frequency = 0}), "vocabulary.min_frequency must be at least 1, got 0");
  EXPECT_EQ(message({.limit_alphabet = -1}), "vocabulary.limit_alphabet must be at least 1, got -1");
}

}  // namespace
}  // namespace rondo
