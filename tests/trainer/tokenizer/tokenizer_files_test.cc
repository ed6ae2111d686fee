#include "trainer/tokenizer/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr EncodeOptions kPlain{.specials = false, .max_tokens = 0};

const char kTokenizer[] = R"({
  "version": "1.0",
  "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0},
  "padding": null,
  "added_tokens": [
    {"id": 0, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 2, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
  ],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "want": 3, "##want": 4, "##ed": 5, "un": 6, ",": 8, "[MASK]": 7}}
})";

/// kTokenizer with the first `from` replaced.
std::string with(const std::string& from, const std::string& to) {
  std::string text = kTokenizer;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

WordPiece tokenizer_of(const std::string& json) {
  SavedTokenizer saved = parse_tokenizer_json(json, "tokenizer.json");
  return WordPiece(std::move(saved.vocabulary), saved.options);
}

std::string refusal(const std::string& json) {
  try {
    parse_tokenizer_json(json, "tokenizer.json");
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json:"));
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(TokenizerFiles, ReadsATokenizerJson) {
  const WordPiece tokenizer = tokenizer_of(kTokenizer);
  EXPECT_THAT(tokenizer.encode("UNwant\u00E9d, [SEP]"), ElementsAre(1, 6, 4, 5, 8, 2, 2));
  EXPECT_EQ(tokenizer.vocabulary().size(), 9);
  // [MASK] is an entry but no added token: it is text, as for `tokenizers`.
  EXPECT_THAT(tokenizer.encode("[MASK]", kPlain), ElementsAre(0, 0, 0));
}

TEST(TokenizerFiles, ReadsTheNormaliser) {
  const WordPiece cased = tokenizer_of(with(R"("lowercase": true)", R"("lowercase": false)"));
  EXPECT_THAT(cased.encode("WANT want", kPlain), ElementsAre(0, 3));
  const WordPiece short_words = tokenizer_of(with(": 100,", ": 3,"));
  EXPECT_THAT(short_words.encode("want un", kPlain), ElementsAre(0, 6));
}

TEST(TokenizerFiles, FindsAddedTokensOfEveryKind) {
  const auto added = [](const char* tokens) {
    return with(R"("added_tokens": [)", std::string(R"("added_tokens": [)") + tokens);
  };
  // Behind the vocabulary, found in the raw text, within words, the longest first; never a piece of a word.
  const WordPiece raw = tokenizer_of(added(R"({"id": 9, "content": "Ed"}, {"id": 10, "content": "Eddy"},)"));
  EXPECT_THAT(raw.encode("unEddywant Ed,ed want\u00C9d", kPlain), ElementsAre(6, 10, 3, 9, 8, 0, 3, 5));
  // Found in the normalised text.
  const WordPiece normal = tokenizer_of(added(R"({"id": 9, "content": "H\u00E9l lo", "normalized": true},)"));
  EXPECT_THAT(normal.encode("wantHEL LOun [CLS]hel\tlo", kPlain), ElementsAre(3, 9, 6, 1, 9));
  EXPECT_THAT(normal.encode("hello", kPlain), ElementsAre(0));
  EXPECT_THAT(normal.encode("want hel lo un", {.specials = true, .max_tokens = 4}), ElementsAre(1, 3, 9, 2));
}

TEST(TokenizerFiles, WritesWhatItReads) {
  const std::string added =
      R"("added_tokens": [{"id": 9, "content": "\"\u00E9\\", "normalized": true}, {"id": 10, "content": "x"},)";
  for (const std::string& json :
       {std::string(kTokenizer), with(R"("added_tokens": [)", added),
        with(R"("strip_accents": null)", R"("strip_accents": false)"),
        with(R"("lowercase": true)", R"("lowercase": false)"), with(": 100,", ": 7,"), with(R"("want": 3, )", "")}) {
    const WordPiece once = tokenizer_of(json);
    const WordPiece again = tokenizer_of(tokenizer_json(once));
    EXPECT_EQ(again.hash(), once.hash()) << json;
    EXPECT_EQ(tokenizer_json(again), tokenizer_json(once));
  }
  const WordPiece default_tokens(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"}));
  EXPECT_EQ(tokenizer_of(tokenizer_json(default_tokens)).hash(), default_tokens.hash());
}

TEST(TokenizerFiles, HashesAddedTokens) {
  const std::string plain = tokenizer_of(kTokenizer).hash();
  const auto hash = [](const std::string& token) {
    return tokenizer_of(with(R"("added_tokens": [)", R"("added_tokens": [)" + token)).hash();
  };
  const std::string mask = hash(R"({"id": 7, "content": "[MASK]"},)");
  EXPECT_NE(mask, plain);
  EXPECT_EQ(mask,
            WordPiece(Vocabulary({"[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "un", "[MASK]", ","})).hash());
  EXPECT_NE(hash(R"({"id": 7, "content": "[MASK]", "normalized": true},)"), mask);
  EXPECT_NE(hash(R"({"id": 9, "content": "x"},)"), plain);
}

TEST(TokenizerFiles, RefusesWhatGivesOtherTokens) {
  EXPECT_THAT(refusal("{\"model\": "), HasSubstr("expected JSON, found something else at byte 11"));
  EXPECT_THAT(refusal(std::string("{}\0{}", 5)), HasSubstr("NUL"));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object, found array"));
  EXPECT_THAT(refusal("{}"), HasSubstr("model is missing"));
  EXPECT_THAT(refusal(with(R"("type": "WordPiece", "unk)", R"("type": "BPE", "unk)")),
              HasSubstr(R"(model.type: expected "WordPiece", found "BPE")"));
  EXPECT_THAT(refusal(with(R"("unk_token": "[UNK]")", R"("unk_token": "<unk>")")), HasSubstr("model.unk_token"));
  EXPECT_THAT(refusal(with(R"("BertNormalizer")", R"("NFC")")),
              HasSubstr(R"(normalizer.type: expected "BertNormalizer", found "NFC")"));
  EXPECT_THAT(refusal(with(R"("clean_text": true)", R"("clean_text": false)")), HasSubstr("normalizer.clean_text"));
  EXPECT_THAT(refusal(with(R"("lowercase": true)", R"("lowercase": 1)")),
              HasSubstr("normalizer.lowercase: expected true or false, found 1"));
  EXPECT_THAT(refusal(with(R"("BertPreTokenizer")", R"("Whitespace")")), HasSubstr("pre_tokenizer.type"));
  EXPECT_THAT(refusal(with(R"("sep": ["[SEP]", 2])", R"("sep": ["[SEP]", 3])")),
              HasSubstr("post_processor.sep.1: expected 2, found 3"));
  EXPECT_THAT(refusal(with(R"({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]})", "null")),
              HasSubstr("post_processor is missing"));
  EXPECT_THAT(refusal(with(": 100,", ": 0,")), HasSubstr("model.max_input_chars_per_word: expected a whole number"));
  EXPECT_THAT(refusal(with(R"("single_word": false)", R"("single_word": true)")),
              HasSubstr("added_tokens.0.single_word: expected false"));
  EXPECT_THAT(refusal(with(R"("[CLS]": 1)", R"("[XLS]": 1)")), HasSubstr("added_tokens.1.id"));
  EXPECT_THAT(refusal(with(R"({"id": 1, "content")", R"({"id": 11, "content")")), HasSubstr("found 11"));
}

TEST(TokenizerFiles, RefusesAVocabularyThatIsNone) {
  EXPECT_THAT(refusal(with(R"("un": 6)", R"("un": 5)")),
              HasSubstr(R"(an id of its own ("##ed" has this one), found 5)"));
  EXPECT_THAT(refusal(with(R"("un": 6)", R"("un": -1)")), HasSubstr("model.vocab.un: expected a whole number from 0"));
  EXPECT_THAT(refusal(with(R"("un": 6)", R"("un": 1e9)")), HasSubstr("model.vocab.un"));
  EXPECT_THAT(refusal(with(R"("un": 6)", R"("un": 4000000000)")), HasSubstr("from 0 to 1017, found 4000000000"));
  EXPECT_THAT(refusal(with(R"("un": 6)", R"("un": "6")")), HasSubstr("found \"6\""));
  EXPECT_THAT(refusal(with(R"("un": 6)", R"("u\nn": 6)")), HasSubstr("cannot hold a line end"));
}

class TokenizerFolderTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_.path() / name) << text; }
  WordPiece read() {
    SavedTokenizer saved = read_tokenizer(folder_.path());
    max_tokens_ = saved.max_tokens;
    return WordPiece(std::move(saved.vocabulary), saved.options);
  }
  std::string refused() {
    try {
      read();
    } catch (const DataError& error) {
      return error.what();
    }
    ADD_FAILURE() << "accepted";
    return "";
  }

  testing::ScratchFolder folder_;
  int64_t max_tokens_ = -1;
};

TEST_F(TokenizerFolderTest, TokenizerJsonComesFirst) {
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n");
  write("tokenizer.json", kTokenizer);
  write("tokenizer_config.json", R"({"do_lower_case": false, "model_max_length": 77})");
  EXPECT_THAT(read().encode("WANT", kPlain), ElementsAre(3));
  EXPECT_EQ(max_tokens_, 77);
}

TEST_F(TokenizerFolderTest, ReadsVocabTxtWithItsConfig) {
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\n\u00C9\n");
  EXPECT_THAT(read().encode("A [MASK]", kPlain), ElementsAre(0, 3));
  EXPECT_EQ(max_tokens_, 0);
  write("tokenizer_config.json",
        R"({"do_lower_case": false, "model_max_length": 1e30, "cls_token": {"content": "[CLS]"}})");
  EXPECT_THAT(read().encode("A \u00C9", kPlain), ElementsAre(4, 5));
  EXPECT_EQ(max_tokens_, 0);
  write("tokenizer_config.json", R"({"do_lower_case": false, "strip_accents": true})");
  EXPECT_THAT(read().encode("A \u00C9", kPlain), ElementsAre(4, 0));
  write("tokenizer_config.json",
        R"({"added_tokens_decoder": {"6": {"content": "B", "normalized": true}, "1": {"content": "[CLS]"}}})");
  EXPECT_THAT(read().encode("[CLS]b[SEP]", kPlain), ElementsAre(1, 6, 0, 0, 0));
}

TEST_F(TokenizerFolderTest, RefusesWhatTheFilesDoNotSay) {
  EXPECT_THAT(refused(), HasSubstr("tokenizer.json or vocab.txt expected"));
  write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n");
  write("tokenizer_config.json", R"({"cls_token": "<s>"})");
  EXPECT_THAT(refused(), HasSubstr("tokenizer_config.json: cls_token: expected \"[CLS]\", found \"<s>\""));
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"7": {"content": "B"}}})");
  EXPECT_THAT(refused(), HasSubstr("one behind its 3 entries"));
  write("tokenizer_config.json", "{}");
  write("added_tokens.json", "{}");
  EXPECT_THAT(refused(), HasSubstr("added_tokens.json beside vocab.txt"));
}

}  // namespace
}  // namespace rondo
