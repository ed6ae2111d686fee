#include "trainer/tokenizer/added_tokens.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

using Contents = std::vector<std::pair<std::string, int32_t>>;

/// The tokens of one kind by what is searched for; of those that become the same, the first counts.
Contents contents_of(const AddedTokenFinder::Tokens& tokens, bool normalized, const WordRules& rules) {
  Contents contents;
  WordReader reader(rules);
  for (const auto& [token, id] : tokens) {
    if (token.normalized != normalized) continue;
    std::string content = token.content;
    if (normalized) reader.normalize(token.content, content);
    if (content.empty()) {
      throw DataError(concat("added token \"", token.content, "\": the normaliser leaves nothing of it to be found"));
    }
    contents.emplace_back(std::move(content), id);
  }
  const auto by_content = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(contents.begin(), contents.end(), by_content);
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  contents.erase(std::unique(contents.begin(), contents.end(), same), contents.end());
  return contents;
}

ByteTrie trie_of(const Contents& contents) {
  return ByteTrie(std::vector<std::pair<std::string_view, int32_t>>(contents.begin(), contents.end()));
}

/// Calls `on_text` and `on_token` with what `text` falls into, from the left.
template <typename OnText, typename OnToken>
void search(const ByteTrie& trie, std::string_view text, OnText on_text, OnToken on_token) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const ByteTrie::Match match = trie.longest(ByteTrie::kRoot, text.substr(at));
    if (match.length == 0) {
      ++at;
      continue;
    }
    if (at > begin) on_text(text.substr(begin, at - begin));
    on_token(match.value);
    at += match.length;
    begin = at;
  }
  if (begin < text.size()) on_text(text.substr(begin));
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const Tokens& tokens, const WordRules& rules)
    : rules_(rules),
      raw_tokens_(contents_of(tokens, false, rules)),
      normal_tokens_(contents_of(tokens, true, rules)),
      raw_(trie_of(raw_tokens_)),
      normal_(trie_of(normal_tokens_)) {}

std::vector<AddedTokenFinder::Segment> AddedTokenFinder::split(std::string_view text) const {
  std::vector<Segment> segments;
  const auto on_token = [&](int32_t id) { segments.push_back({{}, id}); };
  const auto on_plain = [&](std::string_view plain) { segments.push_back({std::string(plain), -1}); };
  WordReader reader(rules_);
  std::string normal;
  const auto on_raw = [&](std::string_view raw) {
    if (normal_tokens_.empty()) return on_plain(raw);
    reader.normalize(raw, normal);
    search(normal_, normal, on_plain, on_token);
  };
  search(raw_, text, on_raw, on_token);
  return segments;
}

}  // namespace rondo
