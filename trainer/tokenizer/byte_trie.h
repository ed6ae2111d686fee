#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rondo {

/// Byte strings with a number each, as a double array (Aoe 1989): a step is one addition and one comparison. Immutable.
class ByteTrie {
 public:
  struct Match {
    size_t length = 0;  // 0: none
    int32_t value = -1;
  };

  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNowhere = -1;

  /// `entries` are sorted by string, which are distinct and not empty; values are not negative.
  explicit ByteTrie(std::span<const std::pair<std::string_view, int32_t>> entries);

  /// The node that `bytes` leads to from the root, or kNowhere.
  int32_t node_of(std::string_view bytes) const;

  /// The longest entry that `bytes` starts with, its first part being the way to `node`, which Match::length leaves
  /// out.
  Match longest(int32_t node, std::string_view bytes) const {
    Match match;
    if (node == kNowhere) return match;
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int32_t next = nodes_[static_cast<size_t>(node)].base + static_cast<uint8_t>(bytes[i]);
      if (nodes_[static_cast<size_t>(next)].parent != node) break;
      node = next;
      const int32_t value = nodes_[static_cast<size_t>(node)].value;
      if (value >= 0) match = {i + 1, value};
    }
    return match;
  }

 private:
  struct Node {
    int32_t base = 0;  // child by byte c: base + c
    int32_t parent = kNowhere;
    int32_t value = -1;
  };

  class Builder;

  std::vector<Node> nodes_;
};

}  // namespace rondo
