#include "trainer/tokenizer/word_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/base/utf8.h"
#include "trainer/tokenizer/unicode_tables.h"

namespace rondo {
namespace {

using namespace std::string_view_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> words(std::string_view text, const NormalizerOptions& options = {}) {
  const WordRules rules(options, {});
  WordReader reader(rules);
  reader.reset(text);
  std::vector<std::string> found;
  while (reader.next() == WordReader::Kind::kWord) found.emplace_back(reader.word());
  return found;
}

constexpr NormalizerOptions kCased{.lowercase = false, .strip_accents = {}, .handle_chinese_chars = true};

NormalizerOptions accents(bool lowercase, bool strip) {
  return {.lowercase = lowercase, .strip_accents = strip, .handle_chinese_chars = true};
}

// google-research/bert, tokenization_test.py, and transformers, test_tokenization_bert_legacy.py.
TEST(WordReader, SplitsAsTheReferencesDo) {
  EXPECT_THAT(words(" \tHeLLo!how  \n Are yoU?  "), ElementsAre("hello", "!", "how", "are", "you", "?"));
  EXPECT_THAT(words(" \tHeLLo!how  \n Are yoU?  ", kCased), ElementsAre("HeLLo", "!", "how", "Are", "yoU", "?"));
  EXPECT_THAT(words("H\u00E9llo"), ElementsAre("hello"));
  EXPECT_THAT(words("ah\u535A\u63A8zz"), ElementsAre("ah", "\u535A", "\u63A8", "zz"));
  EXPECT_THAT(words("a\n'll !!to?'d of, can't."),
              ElementsAre("a", "'", "ll", "!", "!", "to", "?", "'", "d", "of", ",", "can", "'", "t", "."));
  EXPECT_THAT(words("Hey friend!     How are you?!?"),
              ElementsAre("hey", "friend", "!", "how", "are", "you", "?", "!", "?"));
}

TEST(WordReader, SpacesIdeographsAndNothingElse) {
  EXPECT_THAT(words("\u7684\u4EBA\u6709"), ElementsAre("\u7684", "\u4EBA", "\u6709"));
  NormalizerOptions joined;
  joined.handle_chinese_chars = false;
  EXPECT_THAT(words("\u7684\u4EBA\u6709", joined), ElementsAre("\u7684\u4EBA\u6709"));
  EXPECT_THAT(words("\u91CE\u53E3\u91CC\u4F73 Noguchi Rika"),
              ElementsAre("\u91CE", "\u53E3", "\u91CC", "\u4F73", "noguchi", "rika"));
  EXPECT_THAT(words("\u3053\u3093", kCased), ElementsAre("\u3053\u3093"));  // kana
  // The typing error of the reference: 2B820 to 2B91F are no ideographs to it.
  EXPECT_THAT(words("a\U0002B81Fb"), ElementsAre("a", "\U0002B81F", "b"));
  EXPECT_THAT(words("a\U0002B820b"), ElementsAre("a\U0002B820b"));
  EXPECT_THAT(words("a\U0002B920b"), ElementsAre("a", "\U0002B920", "b"));
}

TEST(WordReader, StripsAccentsAndLowersAsTold) {
  const std::string text = "H\u00E4LLo";
  EXPECT_THAT(words(text, accents(true, true)), ElementsAre("hallo"));
  EXPECT_THAT(words(text, accents(true, false)), ElementsAre("h\u00E4llo"));
  EXPECT_THAT(words(text, accents(false, true)), ElementsAre("HaLLo"));
  EXPECT_THAT(words(text, accents(false, false)), ElementsAre("H\u00E4LLo"));
  EXPECT_THAT(words(text), ElementsAre("hallo"));
  EXPECT_THAT(words(text, kCased), ElementsAre("H\u00E4LLo"));
}

TEST(WordReader, LowersByCodePoint) {
  EXPECT_THAT(words("\u0130", accents(true, false)), ElementsAre("i\u0307"));
  EXPECT_THAT(words("\u0130"), ElementsAre("i"));
  EXPECT_THAT(words("\u039F\u03A3"), ElementsAre("\u03BF\u03C3"));  // no final sigma
}

TEST(WordReader, CleansWhatIsNoText) {
  EXPECT_THAT(words("\xC2\xAD"), IsEmpty());  // soft hyphen
  EXPECT_THAT(words("a\0b\x01\x7f\uFFFD\uFEFF"
                    "c"sv),
              ElementsAre("abc"));
  EXPECT_THAT(words("a\u00A0b\u3000c\u2028d\re"), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(words(""), IsEmpty());
  EXPECT_THAT(words(" \t\n"), IsEmpty());
}

TEST(WordReader, KnowsPunctuationFromSymbols) {
  EXPECT_THAT(words("a$b`c-d.e"), ElementsAre("a", "$", "b", "`", "c", "-", "d", ".", "e"));
  EXPECT_THAT(words("a\u20ACb\u2122\U0001F60A"), ElementsAre("a\u20ACb\u2122\U0001F60A"));
  EXPECT_THAT(words("a\u2260b"), ElementsAre("a", "=", "b"));  // its decomposition begins with a punctuation mark
  EXPECT_THAT(words("a\u2260b", kCased), ElementsAre("a\u2260b"));
}

TEST(WordReader, DropsBytesThatAreNotUtf8) {
  EXPECT_THAT(words("a\xFF"
                    "b\x80"
                    "c\xE4\xBD"
                    "d\xF0\x9F\x98"),
              ElementsAre("abcd"));
  EXPECT_THAT(words("\xED\xA0\x80\xC0\x80"), IsEmpty());  // a surrogate, an overlong form
  EXPECT_THAT(words("\xF0\x9F\xC3\xA9"), ElementsAre("e"));
}

TEST(WordReader, OrdersMarksThatStay) {
  // U+1D16D (class 226) before U+302E (224); U+0301 between them is dropped, U+034F (class 0) is too but blocks.
  EXPECT_THAT(words("a\U0001D16D\u0301\u302E"), ElementsAre("a\u302E\U0001D16D"));
  EXPECT_THAT(words("a\U0001D16D\u034F\u302E"), ElementsAre("a\U0001D16D\u302E"));
  EXPECT_THAT(words("a\U0001D16D\u302E", kCased), ElementsAre("a\U0001D16D\u302E"));
  EXPECT_THAT(words("a\U0001D16D\x01\u302E"), ElementsAre("a\u302E\U0001D16D"));
}

TEST(WordReader, DecomposesHangul) {
  EXPECT_THAT(words("\uAC01\uAC00"), ElementsAre("\u1100\u1161\u11A8\u1100\u1161"));
}

TEST(WordReader, CountsCodePointsNotBytes) {
  const WordRules rules(accents(true, false), {});
  WordReader reader(rules);
  reader.reset("\u00E9\u00E9x \U0001F60A");
  ASSERT_EQ(reader.next(), WordReader::Kind::kWord);
  EXPECT_EQ(reader.code_points(), 3);
  ASSERT_EQ(reader.next(), WordReader::Kind::kWord);
  EXPECT_EQ(reader.code_points(), 1);
  EXPECT_EQ(reader.next(), WordReader::Kind::kEnd);
  EXPECT_EQ(reader.next(), WordReader::Kind::kEnd);
}

TEST(WordReader, FindsSpecialTokensInTheRawText) {
  const WordRules rules({}, {{"[MASK]", 7}, {"[SEP]", 3}});
  WordReader reader(rules);
  reader.reset("naive[MASK][mask] [[SEP]");
  std::vector<std::string> found;
  for (auto kind = reader.next(); kind != WordReader::Kind::kEnd; kind = reader.next()) {
    found.push_back(kind == WordReader::Kind::kSpecial ? std::to_string(reader.special()) : std::string(reader.word()));
  }
  EXPECT_THAT(found, ElementsAre("naive", "7", "[", "mask", "]", "[", "3"));
}

TEST(WordReader, RefusesSpecialTokensThatCouldBeginInsideAWord) {
  EXPECT_THROW(WordRules({}, {{"unk", 0}}), InternalError);
  EXPECT_THROW(WordRules({}, {{"", 0}}), InternalError);
}

TEST(WordReader, IsIdempotentOnItsOwnWords) {
  const WordRules rules({}, {});
  WordReader reader(rules);
  for (char32_t c = 1; c < 0x110000; ++c) {
    char bytes[4];
    const auto length = static_cast<size_t>(encode_utf8(c, bytes));
    reader.reset({bytes, length});
    if (reader.next() != WordReader::Kind::kWord) continue;
    const std::string once(reader.word());
    reader.reset(once);
    ASSERT_EQ(reader.next(), WordReader::Kind::kWord) << static_cast<uint32_t>(c);
    ASSERT_EQ(reader.word(), once) << static_cast<uint32_t>(c);
  }
}

}  // namespace
}  // namespace rondo
