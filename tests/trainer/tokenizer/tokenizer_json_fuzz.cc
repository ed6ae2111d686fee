// Entry point in the form of libFuzzer for the reader of tokenizer.json. tests/support/fuzz_main.cc drives it where
// there is no libFuzzer.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "sharding/base/error.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace {

using rondo::SavedTokenizer;
using rondo::WordPiece;

[[noreturn]] void fail() { std::abort(); }

WordPiece tokenizer_of(std::string_view json) {
  SavedTokenizer saved = rondo::parse_tokenizer_json(json, "fuzz");
  return WordPiece(std::move(saved.vocabulary), saved.options);
}

/// What holds of a tokenizer that was accepted.
void check(const WordPiece& tokenizer) {
  const WordPiece again = tokenizer_of(rondo::tokenizer_json(tokenizer));
  for (const char* text : {"", "unwanted [CLS]a\u00E9, x \u4F60\U0001F600", "A a aa [SEP"}) {
    const auto ids = tokenizer.encode(text);
    if (ids.size() < 2 || ids.front() != tokenizer.vocabulary().cls()) fail();
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocabulary().size()) fail();
    }
    if (again.encode(text) != ids) fail();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    check(tokenizer_of({reinterpret_cast<const char*>(data), size}));
  } catch (const rondo::DataError&) {
  }
  return 0;
}

#define RONDO_REST                                                                                                 \
  R"("normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,)"   \
  R"("lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing",)"    \
  R"("sep":["[SEP]",2],"cls":["[CLS]",1]},"model":{"type":"WordPiece","unk_token":"[UNK]",)"                       \
  R"("continuing_subword_prefix":"##","max_input_chars_per_word":9,"vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,)" \
  R"("##a":4,"un":5,"##want":6,"\u00e9":8}}})"

extern "C" const char* const kFuzzSeeds[] = {
    R"({"added_tokens":[{"id":1,"content":"[CLS]","normalized":false,"special":true}],)" RONDO_REST,
    R"({"added_tokens":[{"id":9,"content":"A x","normalized":true},{"id":10,"content":"\u4f60"}],)" RONDO_REST,
    "{" RONDO_REST,
    nullptr,
};
