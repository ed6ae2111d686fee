#include "trainer/tokenizer/byte_trie.h"

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {

namespace {
constexpr size_t kBytes = 256;
constexpr int32_t kNobody = -2;  // the root's parent
}  // namespace

/// Places nodes breadth first: children of a node go where all their slots are free.
class ByteTrie::Builder {
 public:
  using Entries = std::span<const std::pair<std::string_view, int32_t>>;

  Builder(Entries entries, std::vector<Node>& nodes) : entries_(entries), nodes_(nodes) {}

  void build() {
    nodes_.assign(2 * kBytes, Node{});
    nodes_[kRoot].parent = kNobody;
    pending_.push_back({0, entries_.size(), 0, kRoot});
    for (size_t i = 0; i < pending_.size(); ++i) place_children(pending_[i]);
  }

 private:
  struct Range {
    size_t begin, end;  // entries that share `depth` bytes
    size_t depth;
    int32_t node;
  };

  /// By value: places more ranges behind it.
  void place_children(const Range range) {
    std::vector<std::pair<uint8_t, Range>> children;
    for (size_t i = range.begin; i < range.end; ++i) {
      const auto& [bytes, value] = entries_[i];
      if (bytes.size() == range.depth) {
        nodes_[static_cast<size_t>(range.node)].value = value;
        continue;
      }
      const auto byte = static_cast<uint8_t>(bytes[range.depth]);
      if (children.empty() || children.back().first != byte) {
        children.push_back({byte, {i, i, range.depth + 1, 0}});
      }
      children.back().second.end = i + 1;
    }
    if (children.empty()) return;
    const size_t base = free_base(children);
    nodes_[static_cast<size_t>(range.node)].base = static_cast<int32_t>(base);
    for (auto& [byte, child] : children) {
      child.node = static_cast<int32_t>(base + byte);
      nodes_[base + byte].parent = range.node;
      used_ = std::max(used_, base + byte + 1);
      pending_.push_back(child);
    }
  }

  size_t free_base(const std::vector<std::pair<uint8_t, Range>>& children) {
    // An only child takes the first free slot, whatever its byte. More children look near the end only: the gaps before
    // it are left to the single ones.
    while (nodes_[first_free_].parent != kNowhere) ++first_free_;
    const size_t start = children.size() == 1 ? first_free_ : std::max(first_free_, used_ - std::min(used_, kBytes));
    size_t base = start - children[0].first;
    while (!is_free(base, children)) ++base;
    return base;
  }

  /// Afterwards every byte has a node from `base`, so that a look-up needs no check of bounds.
  bool is_free(size_t base, const std::vector<std::pair<uint8_t, Range>>& children) {
    if (base + kBytes >= nodes_.size()) nodes_.resize(2 * nodes_.size());
    return std::all_of(children.begin(), children.end(),
                       [&](const auto& child) { return nodes_[base + child.first].parent == kNowhere; });
  }

  Entries entries_;
  std::vector<Node>& nodes_;
  std::vector<Range> pending_;
  size_t first_free_ = kBytes;  // so that a base is never below 1
  size_t used_ = kBytes;        // no node but the root from here on
};

ByteTrie::ByteTrie(std::span<const std::pair<std::string_view, int32_t>> entries) {
  for (size_t i = 0; i < entries.size(); ++i) {
    RONDO_CHECK(!entries[i].first.empty(), "entry ", i);
    RONDO_CHECK(i == 0 || entries[i - 1].first < entries[i].first, "entry ", i, " is out of order");
  }
  Builder(entries, nodes_).build();
}

int32_t ByteTrie::node_of(std::string_view bytes) const {
  int32_t node = kRoot;
  for (const char byte : bytes) {
    const int32_t next = nodes_[static_cast<size_t>(node)].base + static_cast<uint8_t>(byte);
    if (nodes_[static_cast<size_t>(next)].parent != node) return kNowhere;
    node = next;
  }
  return node;
}

}  // namespace rondo
