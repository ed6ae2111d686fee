#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/tokenizer/byte_trie.h"
#include "trainer/tokenizer/word_reader.h"

namespace rondo {

/// A token that is found in a text as it stands and never cut into pieces; its id is its entry's in the vocabulary.
/// Names as in Hugging Face's tokenizer.json.
struct AddedToken {
  std::string content;

  /// Found in the normalised text, its content normalised too; else in the raw text, letter by letter.
  bool normalized = false;

  /// Stands for something else than text: [CLS] and the like. Says nothing about how it is found.
  bool special = true;

  friend bool operator==(const AddedToken&, const AddedToken&) = default;
};

/// Finds added tokens of any kind, as `AddedVocabulary` of Hugging Face's `tokenizers` does: those of the raw text
/// first, from the left, the longest; what is between them is normalised and searched for the others. WordReader alone
/// finds those that most tokenizers have, and faster. Immutable.
class AddedTokenFinder {
 public:
  using Tokens = std::vector<std::pair<AddedToken, int32_t>>;  // with their ids

  /// `rules` are those of the readers that read what is left between tokens; they outlive the finder. Throws DataError
  /// for a token of whose content the normaliser leaves nothing.
  AddedTokenFinder(const Tokens& tokens, const WordRules& rules);

  /// A token where id >= 0, else text without any.
  struct Segment {
    std::string text;
    int32_t id = -1;
  };
  std::vector<Segment> split(std::string_view text) const;

 private:
  const WordRules& rules_;
  std::vector<std::pair<std::string, int32_t>> raw_tokens_;  // content and id, sorted: what the tries point to
  std::vector<std::pair<std::string, int32_t>> normal_tokens_;
  ByteTrie raw_;
  ByteTrie normal_;
};

}  // namespace rondo
