#include "sharding/embedding/partial_bags.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/copy_bytes.h"

namespace rondo {
namespace {

size_t weight_bytes(const at::Tensor& weights) { return weights.defined() ? weights.element_size() : 0; }

/// Words of one feature in one group.
int64_t block_words(int64_t bags, int64_t entries, size_t bytes_of_weight) {
  return 1 + bags + entries * (1 + static_cast<int64_t>(bytes_of_weight / sizeof(int32_t)));
}

/// Group and place in it of every key.
struct KeyGroups {
  explicit KeyGroups(std::span<const int64_t> rows) {
    group.reserve(static_cast<size_t>(std::accumulate(rows.begin(), rows.end(), int64_t{0})));
    for (size_t g = 0; g < rows.size(); ++g) {
      first.push_back(static_cast<int64_t>(group.size()));
      group.insert(group.end(), static_cast<size_t>(rows[g]), g);
    }
  }

  std::vector<size_t> group;
  std::vector<int64_t> first;  // [groups]
};

/// Where the block of a feature in a group lies.
struct Block {
  int64_t lengths, places, weights;  // first word of each
  int64_t filled = 0;                // entries
};

void fill(const BagEntries& feature, const KeyGroups& keys, std::span<Block> blocks, int32_t* words) {
  const size_t bytes = weight_bytes(feature.weights);
  const auto* const weights = bytes == 0 ? nullptr : static_cast<const std::byte*>(feature.weights.const_data_ptr());
  for (size_t bag = 0; bag + 1 < feature.offsets.size(); ++bag) {
    for (auto i = static_cast<size_t>(feature.offsets[bag]); i < static_cast<size_t>(feature.offsets[bag + 1]); ++i) {
      if (feature.places[i] < 0) continue;
      const auto place = static_cast<size_t>(feature.places[i]);
      Block& block = blocks[keys.group[place]];
      ++words[block.lengths + static_cast<int64_t>(bag)];
      words[block.places + block.filled] = static_cast<int32_t>(feature.places[i] - keys.first[keys.group[place]]);
      if (weights != nullptr) {
        std::memcpy(words + block.weights + block.filled * static_cast<int64_t>(bytes / sizeof(int32_t)),
                    weights + i * bytes, bytes);
      }
      ++block.filled;
    }
  }
}

/// The one group that has keys; -1: there is more than one, or none.
int64_t only_group(std::span<const int64_t> group_rows) {
  const auto first = std::ranges::find_if(group_rows, [](int64_t rows) { return rows > 0; });
  if (first == group_rows.end()) return -1;
  const bool more = std::any_of(first + 1, group_rows.end(), [](int64_t rows) { return rows > 0; });
  return more ? -1 : first - group_rows.begin();
}

/// Every entry is in one group: lengths and places as they are.
void pack_whole(std::span<const BagEntries> features, PackedBags& packed, size_t group) {
  int64_t total = 0;
  for (const BagEntries& feature : features) {
    total += block_words(static_cast<int64_t>(feature.offsets.size()) - 1, static_cast<int64_t>(feature.places.size()),
                         weight_bytes(feature.weights));
  }
  packed.group_words[group] = total;
  packed.words.resize(static_cast<size_t>(total));
  int32_t* out = packed.words.data();
  for (const BagEntries& feature : features) {
    *out++ = static_cast<int32_t>(feature.offsets.size()) - 1;
    for (size_t b = 0; b + 1 < feature.offsets.size(); ++b) {
      *out++ = static_cast<int32_t>(feature.offsets[b + 1] - feature.offsets[b]);
    }
    out = std::transform(feature.places.begin(), feature.places.end(), out,
                         [](int64_t place) { return static_cast<int32_t>(place); });
    if (!feature.weights.defined()) continue;
    copy_bytes(feature.weights.const_data_ptr(), feature.weights.nbytes(), out);
    out += feature.weights.nbytes() / sizeof(int32_t);
  }
}

}  // namespace

void pack_bags(std::span<const BagEntries> features, std::span<const int64_t> group_rows, PackedBags& packed) {
  const int64_t only = only_group(group_rows);
  const auto any = [](const BagEntries& feature) { return !feature.places.empty(); };
  const auto none_missing = [](const BagEntries& feature) { return std::ranges::count(feature.places, -1) == 0; };
  if (only >= 0 && std::ranges::any_of(features, any) && std::ranges::all_of(features, none_missing)) {
    packed.group_words.assign(group_rows.size(), 0);
    return pack_whole(features, packed, static_cast<size_t>(only));
  }
  const KeyGroups keys(group_rows);
  const size_t groups = group_rows.size();
  std::vector<int64_t> entries(groups * features.size());  // feature by feature
  packed.group_words.assign(groups, 0);
  for (size_t f = 0; f < features.size(); ++f) {
    for (const int64_t place : features[f].places) {
      if (place < 0) continue;
      const size_t group = keys.group[static_cast<size_t>(place)];
      ++entries[f * groups + group];
      ++packed.group_words[group];
    }
  }
  std::vector<Block> blocks(entries.size());
  int64_t next = 0;
  for (size_t g = 0; g < groups; ++g) {
    const int64_t start = next;
    for (size_t f = 0; f < features.size() && packed.group_words[g] > 0; ++f) {
      const auto bags = static_cast<int64_t>(features[f].offsets.size()) - 1;
      const int64_t count = entries[f * groups + g], lengths = next + 1;
      blocks[f * groups + g] = {.lengths = lengths, .places = lengths + bags, .weights = lengths + bags + count};
      next += block_words(bags, count, weight_bytes(features[f].weights));
    }
    packed.group_words[g] = next - start;
  }
  packed.words.assign(static_cast<size_t>(next), 0);
  for (size_t f = 0; f < features.size(); ++f) {
    const std::span<Block> of_feature = std::span(blocks).subspan(f * groups, groups);
    for (size_t g = 0; g < groups; ++g) {
      if (packed.group_words[g] == 0) continue;
      packed.words[static_cast<size_t>(of_feature[g].lengths) - 1] =
          static_cast<int32_t>(features[f].offsets.size()) - 1;
    }
    fill(features[f], keys, of_feature, packed.words.data());
  }
}

void unpack_bags(std::span<const int32_t> words, std::span<const at::ScalarType> weights, std::span<BagList> bags) {
  size_t at = 0;
  for (size_t f = 0; f < bags.size(); ++f) {
    const auto count = static_cast<size_t>(words[at++]);
    BagList list{.positions = {}, .offsets = at::empty({static_cast<int64_t>(count) + 1}, at::kLong), .weights = {}};
    auto* const offset = list.offsets.mutable_data_ptr<int64_t>();
    offset[0] = 0;
    for (size_t b = 0; b < count; ++b) offset[b + 1] = offset[b] + words[at + b];
    at += count;
    const auto entries = static_cast<size_t>(offset[count]);
    list.positions = at::empty({offset[count]}, at::kLong);
    std::copy_n(words.begin() + static_cast<int64_t>(at), entries, list.positions.mutable_data_ptr<int64_t>());
    at += entries;
    if (weights[f] != at::kLong) {
      list.weights = at::empty({offset[count]}, weights[f]);
      copy_bytes(words.data() + at, list.weights.nbytes(), list.weights.mutable_data_ptr());
      at += list.weights.nbytes() / sizeof(int32_t);
    }
    bags[f] = std::move(list);
  }
  RONDO_CHECK_EQ(at, words.size(), "words of bags");
}

BagList bags_of(const BagEntries& entries) {
  const auto n = entries.places.size() - static_cast<size_t>(std::ranges::count(entries.places, -1));
  BagList list{.positions = at::empty({static_cast<int64_t>(n)}, at::kLong),
               .offsets = at::empty({static_cast<int64_t>(entries.offsets.size())}, at::kLong),
               .weights = {}};
  const size_t bytes = weight_bytes(entries.weights);
  if (bytes > 0) list.weights = at::empty({static_cast<int64_t>(n)}, entries.weights.scalar_type());
  auto* const places = list.positions.mutable_data_ptr<int64_t>();
  auto* const offset = list.offsets.mutable_data_ptr<int64_t>();
  size_t filled = 0;
  offset[0] = 0;
  for (size_t bag = 0; bag + 1 < entries.offsets.size(); ++bag) {
    for (auto i = static_cast<size_t>(entries.offsets[bag]); i < static_cast<size_t>(entries.offsets[bag + 1]); ++i) {
      if (entries.places[i] < 0) continue;
      places[filled] = entries.places[i];
      if (bytes > 0) {
        std::memcpy(static_cast<std::byte*>(list.weights.mutable_data_ptr()) + filled * bytes,
                    static_cast<const std::byte*>(entries.weights.const_data_ptr()) + i * bytes, bytes);
      }
      ++filled;
    }
    offset[bag + 1] = static_cast<int64_t>(filled);
  }
  return list;
}

}  // namespace rondo
