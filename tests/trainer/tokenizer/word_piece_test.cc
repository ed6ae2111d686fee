#include "trainer/tokenizer/word_piece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr EncodeOptions kPlain{.specials = false, .max_tokens = 0};

// google-research/bert, tokenization_test.py, with the ids of that test.
Vocabulary small_vocabulary() {
  return Vocabulary({"[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","});
}

TEST(WordPiece, GivesTheIdsOfTheReference) {
  const WordPiece tokenizer(small_vocabulary());
  EXPECT_THAT(tokenizer.encode("UNwant\u00E9d,running", kPlain), ElementsAre(7, 4, 5, 10, 8, 9));
  EXPECT_THAT(tokenizer.encode("UNwant\u00E9d,running"), ElementsAre(1, 7, 4, 5, 10, 8, 9, 2));
  EXPECT_THAT(tokenizer.encode("", kPlain), IsEmpty());
  EXPECT_THAT(tokenizer.encode(""), ElementsAre(1, 2));
  EXPECT_THAT(tokenizer.encode("unwanted running", kPlain), ElementsAre(7, 4, 5, 8, 9));
  EXPECT_THAT(tokenizer.encode("unwantedX running", kPlain), ElementsAre(0, 8, 9));
}

TEST(WordPiece, FollowsTheOrderOfTheVocabulary) {
  // transformers, test_tokenization_bert_legacy.py
  const WordPiece tokenizer(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "want", "##want", "##ed", "wa",
                                        "un", "runn", "##ing", ",", "low", "lowest"}));
  EXPECT_THAT(tokenizer.encode("UNwant\u00E9d,running", kPlain), ElementsAre(9, 6, 7, 12, 10, 11));
  EXPECT_THAT(tokenizer.encode("lowest low [MASK]wa", kPlain), ElementsAre(14, 13, 4, 8));
}

TEST(WordPiece, CutsIntoTheLongestEntriesEvenIntoADeadEnd) {
  const WordPiece tokenizer(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "ab", "abc", "##cd", "##d", "a"}));
  EXPECT_THAT(tokenizer.encode("abcd", kPlain), ElementsAre(4, 6));  // not ab ##cd
  EXPECT_THAT(tokenizer.encode("abce", kPlain), ElementsAre(0));
  EXPECT_THAT(tokenizer.encode("acd", kPlain), ElementsAre(7, 5));
}

TEST(WordPiece, CountsCodePointsOfLongWords) {
  const WordPiece tokenizer(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "a", "##a", "\u00E9", "##\u00E9"}),
                            {.normalizer = {.lowercase = true, .strip_accents = false, .handle_chinese_chars = true}});
  for (const std::string letter : {"a", "\u00E9"}) {
    std::string word;
    for (int i = 0; i < 100; ++i) word += letter;
    EXPECT_EQ(tokenizer.encode(word, kPlain).size(), 100U);
    EXPECT_THAT(tokenizer.encode(word + letter, kPlain), ElementsAre(0));
  }
}

TEST(WordPiece, NeverGivesMoreThanMaxTokens) {
  const WordPiece tokenizer(small_vocabulary());
  const std::string text = "unwanted running, want";
  const auto whole = tokenizer.encode(text, kPlain);
  ASSERT_EQ(whole.size(), 7U);
  for (int64_t limit = 2; limit < 12; ++limit) {
    const auto kept = std::min<size_t>(whole.size(), static_cast<size_t>(limit) - 2);
    std::vector<int32_t> expected{1};
    expected.insert(expected.end(), whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(kept));
    expected.push_back(2);
    EXPECT_EQ(tokenizer.encode(text, {.specials = true, .max_tokens = limit}), expected);
  }
  EXPECT_THAT(tokenizer.encode(text, {.specials = false, .max_tokens = 1}), ElementsAre(7));
  EXPECT_THROW(tokenizer.encode(text, {.specials = true, .max_tokens = 1}), ConfigError);
}

TEST(WordPiece, CutsPairsLongestFirst) {
  const WordPiece tokenizer(small_vocabulary());
  const auto pair = [&](const char* first, const char* second, int64_t limit) {
    return tokenizer.encode_pair(first, second, {.specials = true, .max_tokens = limit});
  };
  const auto whole = pair("want", "wa wa", 0);
  EXPECT_THAT(whole.ids, ElementsAre(1, 3, 2, 6, 6, 2));
  EXPECT_EQ(whole.first_length, 3);
  EXPECT_THAT(pair("want want want want", "wa", 6).ids, ElementsAre(1, 3, 3, 2, 6, 2));
  // Equally long and an odd room: the second keeps the extra token, unless the first was longer.
  EXPECT_THAT(pair("want want want want", "wa wa wa wa", 6).ids, ElementsAre(1, 3, 2, 6, 6, 2));
  EXPECT_THAT(pair("want want want want want", "wa wa wa wa", 6).ids, ElementsAre(1, 3, 3, 2, 6, 2));
}

TEST(WordPiece, GivesABatchWhatItGivesEachText) {
  const WordPiece tokenizer(small_vocabulary());
  const std::vector<std::string> kinds = {"unwanted", "", "running, wa", "\xFF\xE4 want", "[SEP] x"};
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> expected;
  for (size_t i = 0; i < 1501; ++i) {
    const std::string& text = kinds[i * 7 % kinds.size()];
    bytes.insert(bytes.end(), text.begin(), text.end());
    offsets.push_back(static_cast<int64_t>(bytes.size()));
    const auto ids = tokenizer.encode(text);
    expected.insert(expected.end(), ids.begin(), ids.end());
  }
  const int before = threads();
  for (const int count : {1, 3}) {
    set_threads(count);
    const auto batch = tokenizer.encode_batch({bytes, offsets});
    EXPECT_EQ(batch.ids, expected);
    EXPECT_EQ(batch.offsets.size(), 1502U);
    EXPECT_EQ(batch.offsets.back(), static_cast<int64_t>(expected.size()));
  }
  set_threads(before);
  const std::vector<int64_t> none{0};
  EXPECT_EQ(tokenizer.encode_batch({{}, none}).offsets, none);
}

TEST(WordPiece, GluesBackToTheWords) {
  const WordPiece tokenizer(
      Vocabulary({"[UNK]", "[CLS]", "[SEP]", "a", "b", "ab", "##a", "##b", "##ba", "ba", "##aab"}));
  const CounterRandom random(3, 0, RandomPurpose::kTest);
  for (uint64_t text = 0; text < 500; ++text) {
    std::string word;
    for (uint64_t i = 0; i <= random.below(12, text, 0); ++i) word += random.below(2, text, i + 1) == 0 ? 'a' : 'b';
    std::string glued;
    for (const int32_t id : tokenizer.encode("  " + word + "\t", kPlain)) {
      const std::string& entry = tokenizer.vocabulary().entry(id);
      glued += entry.starts_with("##") ? entry.substr(2) : entry;
    }
    EXPECT_EQ(glued, word);
  }
}

TEST(WordPiece, HashesVocabularyAndOptions) {
  const WordPiece one(small_vocabulary());
  EXPECT_EQ(one.hash().size(), 64U);
  EXPECT_EQ(WordPiece(small_vocabulary()).hash(), one.hash());
  WordPieceOptions cased;
  cased.normalizer.lowercase = false;
  EXPECT_NE(WordPiece(small_vocabulary(), cased).hash(), one.hash());
  WordPieceOptions same;
  same.normalizer.strip_accents = true;  // what unset means beside lowercase
  EXPECT_EQ(WordPiece(small_vocabulary(), same).hash(), one.hash());
  EXPECT_NE(WordPiece(Vocabulary({"[UNK]", "[CLS]", "[SEP]"})).hash(), one.hash());
}

TEST(WordPiece, RefusesAWordLimitBelowOne) {
  try {
    const WordPiece tokenizer(small_vocabulary(), {.normalizer = {}, .max_input_chars_per_word = 0});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("max_input_chars_per_word must be at least 1, got 0"));
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
  }
}

}  // namespace
}  // namespace rondo
