#include "trainer/tokenizer/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "sharding/base/error.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

std::string failure(const std::string& text) {
  try {
    Vocabulary::parse(text, "vocab.txt");
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Vocabulary, NumbersLines) {
  for (const std::string text :
       {"[UNK]\n[CLS]\n[SEP]\na\n##b\n", "[UNK]\n[CLS]\n[SEP]\na\n##b", "[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n##b\r\n"}) {
    const auto vocabulary = Vocabulary::parse(text, "vocab.txt");
    EXPECT_EQ(vocabulary.size(), 5);
    EXPECT_EQ(vocabulary.unknown(), 0);
    EXPECT_EQ(vocabulary.cls(), 1);
    EXPECT_EQ(vocabulary.sep(), 2);
    EXPECT_EQ(vocabulary.find("##b"), 4);
    EXPECT_EQ(vocabulary.find("b"), -1);
    EXPECT_EQ(vocabulary.entry(3), "a");
    EXPECT_EQ(vocabulary.text(), "[UNK]\n[CLS]\n[SEP]\na\n##b\n");
    EXPECT_EQ(vocabulary.hash(), sha256_hex(vocabulary.text()));
  }
}

TEST(Vocabulary, KeepsSpacesThatAreEntries) {
  const auto vocabulary = Vocabulary::parse("[UNK]\n[CLS]\n[SEP]\n\u2028\n \n\n\u00A0\n", "vocab.txt");
  EXPECT_EQ(vocabulary.size(), 7);
  EXPECT_EQ(vocabulary.find("\u2028"), 3);
  EXPECT_EQ(vocabulary.find(""), 5);
  EXPECT_EQ(vocabulary.find("\u00A0"), 6);
}

TEST(Vocabulary, KeepsTheLastOfTwoLikeEntries) {
  const auto vocabulary = Vocabulary::parse("[UNK]\n[CLS]\n[SEP]\nx\ny\nx\n", "vocab.txt");
  EXPECT_EQ(vocabulary.size(), 6);
  EXPECT_EQ(vocabulary.find("x"), 5);
}

TEST(Vocabulary, SaysWhatIsMissing) {
  EXPECT_THAT(failure(""), HasSubstr("vocab.txt: a WordPiece vocabulary needs [UNK]; not found among 0 entries"));
  EXPECT_THAT(failure("[UNK]\n[CLS]\n"), HasSubstr("needs [SEP]"));
  EXPECT_THAT(failure("[UNK]\n[CLS]\n[SEP]\na\xFF\n"), HasSubstr("vocab.txt:4: expected UTF-8"));
}

TEST(Vocabulary, RefusesEntriesWithLineEnds) {
  EXPECT_THROW(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "a\nb"}), DataError);
  EXPECT_THROW(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "a\r"}), DataError);
  EXPECT_EQ(Vocabulary::parse("[UNK]\n[CLS]\n[SEP]\na\r\r\n", "vocab.txt").entry(3), "a");
}

TEST(Vocabulary, SaysWhichFileIsMissing) {
  try {
    Vocabulary::read("/nowhere/vocab.txt");
    FAIL() << "found";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/vocab.txt"));
    EXPECT_EQ(error.exit_code(), ExitCode::kMissingInput);
  }
}

TEST(Vocabulary, ListsTheSpecialTokensThatItHas) {
  const auto vocabulary = Vocabulary::parse("[CLS]\n[SEP]\n[UNK]\n[MASK]\n", "vocab.txt");
  const WordRules::SpecialTokens expected = {{"[UNK]", 2}, {"[CLS]", 0}, {"[SEP]", 1}, {"[MASK]", 3}};
  EXPECT_EQ(vocabulary.special_ids(), expected);
}

}  // namespace
}  // namespace rondo
