// Entry points in the form of libFuzzer, for the two parsers of this room that read what others wrote. The first byte
// chooses. tests/support/fuzz_main.cc drives it where there is no libFuzzer.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/base/utf8.h"
#include "trainer/tokenizer/word_piece.h"

namespace {

using rondo::NormalizerOptions;
using rondo::Vocabulary;
using rondo::WordPiece;

[[noreturn]] void fail() { std::abort(); }

const WordPiece& tokenizer(bool lowercase) {
  static const auto make = [](bool lower) {
    return WordPiece(Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "ab", "##ab", "\u4F60",
                                 "e", "##e", "\u00E9", "1", "##1", "!", "##\u302E"}),
                     {.normalizer = {.lowercase = lower, .strip_accents = {}, .handle_chinese_chars = lower}});
  };
  static const WordPiece kLower = make(true);
  static const WordPiece kCased = make(false);
  return lowercase ? kLower : kCased;
}

void fuzz_word_piece(std::string_view text, bool lowercase) {
  const WordPiece& word_piece = tokenizer(lowercase);
  const auto ids = word_piece.encode(text);
  if (ids.size() < 2 || ids.front() != word_piece.vocabulary().cls() || ids.back() != word_piece.vocabulary().sep()) {
    fail();
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= word_piece.vocabulary().size()) fail();
  }
  if (word_piece.encode(' ' + std::string(text) + "\n") != ids) fail();
  const auto cut = word_piece.encode(text, {.specials = true, .max_tokens = 5});
  if (cut.size() > 5 || !std::equal(cut.begin(), cut.end() - 1, ids.begin())) fail();
}

void fuzz_vocabulary(std::string_view text) {
  try {
    const auto vocabulary = Vocabulary::parse("[UNK]\n[CLS]\n[SEP]\n" + std::string(text), "fuzz");
    if (!rondo::is_utf8(text)) fail();
    if (Vocabulary::parse(vocabulary.text(), "again").hash() != vocabulary.hash()) fail();
    WordPiece(vocabulary).encode(text);
  } catch (const rondo::DataError&) {
    if (rondo::is_utf8(text)) fail();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 == 3) {
    fuzz_vocabulary(text);
  } else {
    fuzz_word_piece(text, data[0] % 2 == 0);
  }
  return 0;
}

extern "C" const char* const kFuzzSeeds[] = {
    "0unwanted, r\u00E9sum\u00E9 [MASK] ab\xE4\xBD\xA0 1!",
    "1 A\u0300\u302E\U0001D16D caf\u00E9 \uAC01 [SEP][CLS",
    "2\xF0\x9F\x98\x8A\xFF\xED\xA0\x80 abab\u3000aab \u2260",
    "3a\n##b\n\u4F60\r\n##\u00E9\n[MASK]\n\na",
    nullptr,
};
