// Speaks with compare_with_tokenizers.py: reads texts from standard input, each as its length (uint32, little endian)
// and its bytes, and prints a line for each.
//
//   word_piece_probe words LOWERCASE STRIP_ACCENTS HANDLE_CHINESE          its words
//   word_piece_probe ids   LOWERCASE STRIP_ACCENTS HANDLE_CHINESE VOCAB MAX_TOKENS    its tokens
//   word_piece_probe pairs ...                                             tokens of texts 0 and 1, 2 and 3, ...
//   word_piece_probe saved PATH MAX_TOKENS -                               tokens by a saved tokenizer
//   word_piece_probe learn LOWERCASE STRIP_ACCENTS HANDLE_CHINESE SIZE     the vocabulary learned from all
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "trainer/tokenizer/tokenizer_files.h"
#include "trainer/tokenizer/vocabulary_learner.h"
#include "trainer/tokenizer/word_piece.h"

namespace {

using rondo::Vocabulary;
using rondo::WordPiece;
using rondo::WordReader;

std::vector<std::string> read_texts() {
  std::vector<std::string> texts;
  uint32_t size = 0;
  while (std::cin.read(reinterpret_cast<char*>(&size), sizeof size)) {
    std::string text(size, '\0');
    std::cin.read(text.data(), size);
    texts.push_back(std::move(text));
  }
  return texts;
}

void print(const std::vector<int32_t>& ids) {
  std::string line;
  for (const int32_t id : ids) line += std::to_string(id) + ' ';
  std::puts(line.c_str());
}

void print_words(const rondo::WordRules& rules, const std::vector<std::string>& texts) {
  WordReader reader(rules);
  for (const std::string& text : texts) {
    std::string line;
    reader.reset(text);
    while (reader.next() != WordReader::Kind::kEnd) line += std::string(reader.word()) + ' ';
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 4) return 2;
  if (arguments[0] == "saved") {
    rondo::SavedTokenizer saved = rondo::read_tokenizer_at(arguments[1], true);
    const WordPiece tokenizer(std::move(saved.vocabulary), saved.options);
    for (const std::string& text : read_texts()) {
      print(tokenizer.encode(text, {.specials = true, .max_tokens = std::stoll(arguments[2])}));
    }
    return 0;
  }
  const rondo::NormalizerOptions normalizer{.lowercase = arguments[1] == "1",
                                            .strip_accents = arguments[2] == "1",
                                            .handle_chinese_chars = arguments[3] == "1"};
  const std::vector<std::string> texts = read_texts();
  if (arguments[0] == "words") {
    print_words(rondo::WordRules(normalizer, {}), texts);
  } else if (arguments[0] == "learn") {
    rondo::VocabularyLearner learner({.size = std::stoll(arguments.at(4)), .normalizer = normalizer});
    for (const std::string& text : texts) learner.add(text);
    std::fputs(learner.learn().text().c_str(), stdout);
  } else {
    const WordPiece tokenizer(Vocabulary::read(arguments.at(4)), {.normalizer = normalizer});
    const rondo::EncodeOptions options{.specials = true, .max_tokens = std::stoll(arguments.at(5))};
    if (arguments[0] == "ids") {
      for (const std::string& text : texts) print(tokenizer.encode(text, options));
    } else {
      for (size_t i = 0; i + 1 < texts.size(); i += 2)
        print(tokenizer.encode_pair(texts[i], texts[i + 1], options).ids);
    }
  }
  return 0;
}
