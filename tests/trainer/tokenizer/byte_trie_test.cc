#include "trainer/tokenizer/byte_trie.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

ByteTrie trie_of(const std::map<std::string, int32_t>& entries) {
  const std::vector<std::pair<std::string_view, int32_t>> sorted(entries.begin(), entries.end());
  return ByteTrie(sorted);
}

TEST(ByteTrie, FindsTheLongestEntryOfRandomSets) {
  const CounterRandom random(5, 0, RandomPurpose::kTest);
  for (const uint64_t letters : {2U, 30U, 256U}) {
    const auto draw = [&](uint64_t key) {
      std::string text(1 + random.below(6, key, 0), '\0');
      for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(255 - random.below(letters, key, i + 1));
      return text;
    };
    std::map<std::string, int32_t> entries;
    for (uint64_t i = 0; i < 3000; ++i) entries[draw(i)] = static_cast<int32_t>(i);
    const ByteTrie trie = trie_of(entries);
    for (const auto& [entry, value] : entries) ASSERT_EQ(trie.longest(ByteTrie::kRoot, entry).value, value);
    for (uint64_t i = 0; i < 3000; ++i) {
      const std::string text = draw(10000 + i) + draw(20000 + i);
      ByteTrie::Match expected;
      for (size_t length = text.size(); length > 0 && expected.length == 0; --length) {
        const auto found = entries.find(text.substr(0, length));
        if (found != entries.end()) expected = {length, found->second};
      }
      const auto match = trie.longest(ByteTrie::kRoot, text);
      ASSERT_EQ(match.length, expected.length);
      ASSERT_EQ(match.value, expected.value);
    }
  }
}

TEST(ByteTrie, ContinuesBehindAPrefix) {
  const ByteTrie trie = trie_of({{"##", 9}, {"##ab", 1}, {"a", 2}, {"ab", 3}});
  const int32_t node = trie.node_of("##");
  EXPECT_EQ(trie.longest(node, "abc").value, 1);
  EXPECT_EQ(trie.longest(node, "abc").length, 2U);
  EXPECT_EQ(trie.longest(node, "a").length, 0U);
  EXPECT_EQ(trie.node_of("#x"), ByteTrie::kNowhere);
  EXPECT_EQ(trie.longest(ByteTrie::kNowhere, "a").length, 0U);
}

TEST(ByteTrie, HoldsNothing) {
  const ByteTrie trie = trie_of({});
  EXPECT_EQ(trie.longest(ByteTrie::kRoot, std::string_view("\0a", 2)).length, 0U);
  EXPECT_EQ(trie.node_of(std::string_view("\0", 1)), ByteTrie::kNowhere);
}

TEST(ByteTrie, RefusesEntriesOutOfOrder) {
  using Entries = std::vector<std::pair<std::string_view, int32_t>>;
  EXPECT_THROW(ByteTrie(Entries{{"b", 0}, {"a", 1}}), InternalError);
  EXPECT_THROW(ByteTrie(Entries{{"a", 0}, {"a", 1}}), InternalError);
  EXPECT_THROW(ByteTrie(Entries{{"", 0}}), InternalError);
}

}  // namespace
}  // namespace rondo
