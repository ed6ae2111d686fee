#include "sharding/embedding/raw_bags.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/copy_bytes.h"

namespace rondo {
namespace {

constexpr int64_t kHead = 2;  // words before the lengths: bags, counted keys

int64_t weight_words(const at::Tensor& weights) {
  return weights.defined() ? static_cast<int64_t>(weights.element_size() / sizeof(int32_t)) : 0;
}

int64_t bags_of(const RawFeature& feature) { return static_cast<int64_t>(feature.offsets.size()) - 1; }

int64_t block_words(const RawFeature& feature, int64_t keys, int key_words) {
  return kHead + bags_of(feature) + keys * (key_words + weight_words(feature.weights));
}

void put_keys(std::span<const uint64_t> keys, int key_words, int32_t* out) {
  if (key_words == 2) {
    copy_bytes(keys.data(), keys.size_bytes(), out);
    return;
  }
  for (size_t i = 0; i < keys.size(); ++i) out[i] = static_cast<int32_t>(static_cast<uint32_t>(keys[i]));
}

/// Everything goes to one group.
int32_t* put_whole(const RawFeature& feature, int key_words, int32_t* out) {
  *out++ = static_cast<int32_t>(bags_of(feature));
  *out++ = static_cast<int32_t>(feature.counted);
  for (size_t b = 0; b + 1 < feature.offsets.size(); ++b) {
    *out++ = static_cast<int32_t>(feature.offsets[b + 1] - feature.offsets[b]);
  }
  put_keys(feature.keys, key_words, out);
  out += static_cast<int64_t>(feature.keys.size()) * key_words;
  if (!feature.weights.defined()) return out;
  copy_bytes(feature.weights.const_data_ptr(), feature.weights.nbytes(), out);
  return out + feature.weights.nbytes() / sizeof(int32_t);
}

/// Where the next things of one feature for one owner go.
struct Cursor {
  int32_t* head = nullptr;  // null: nothing goes to this owner
  int32_t* keys = nullptr;
  int32_t* weights = nullptr;
};

void put_by_owner(const RawFeature& feature, std::span<const int32_t> owners, int key_words,
                  std::span<Cursor> cursors) {
  const int64_t weight = weight_words(feature.weights);
  const auto* const weights =
      weight == 0 ? nullptr : static_cast<const int32_t*>(static_cast<const void*>(feature.weights.const_data_ptr()));
  for (const Cursor& cursor : cursors) {
    if (cursor.head != nullptr) *cursor.head = static_cast<int32_t>(bags_of(feature));
  }
  for (int64_t bag = 0; bag < bags_of(feature); ++bag) {
    for (int64_t i = feature.offsets[bag]; i < feature.offsets[bag + 1]; ++i) {
      Cursor& cursor = cursors[owners[i]];
      ++cursor.head[kHead + bag];
      cursor.head[1] += i < feature.counted ? 1 : 0;
      put_keys(feature.keys.subspan(static_cast<size_t>(i), 1), key_words, cursor.keys);
      cursor.keys += key_words;
      if (weight == 0) continue;
      std::copy_n(weights + i * weight, weight, cursor.weights);
      cursor.weights += weight;
    }
  }
}

int64_t all_keys(std::span<const RawFeature> features) {
  return std::accumulate(features.begin(), features.end(), int64_t{0}, [](int64_t sum, const RawFeature& feature) {
    return sum + static_cast<int64_t>(feature.keys.size());
  });
}

}  // namespace

int words_of_key(const TableSpec& spec) {
  const bool small = spec.rows <= int64_t{std::numeric_limits<uint32_t>::max()} + 1;
  return spec.key_space == KeySpace::kDense && small ? 1 : 2;
}

void pack_raw_bags(std::span<const RawFeature> features, int key_words, PackedBags& packed) {
  int64_t words = 0;
  for (const RawFeature& feature : features) {
    words += block_words(feature, static_cast<int64_t>(feature.keys.size()), key_words);
  }
  if (all_keys(features) == 0) words = 0;
  packed.group_words.assign(1, words);
  packed.words.resize(static_cast<size_t>(words));
  if (words == 0) return;
  int32_t* out = packed.words.data();
  for (const RawFeature& feature : features) out = put_whole(feature, key_words, out);
}

void pack_raw_bags(std::span<const RawFeature> features, const KeyPlacement& placement, int key_words,
                   std::span<int64_t> keys_to, PackedBags& packed) {
  std::ranges::fill(keys_to, 0);
  if (const int only = placement.only_owner(); only >= 0) {
    pack_raw_bags(features, key_words, packed);
    const int64_t words = packed.group_words[0];
    packed.group_words.assign(keys_to.size(), 0);
    packed.group_words[static_cast<size_t>(only)] = words;
    keys_to[static_cast<size_t>(only)] = all_keys(features);
    return;
  }
  const size_t world = keys_to.size();
  std::vector<int32_t> owners(static_cast<size_t>(all_keys(features)));
  std::vector<int64_t> keys(features.size() * world);  // feature by feature
  for (size_t f = 0, at = 0; f < features.size(); ++f) {
    for (const uint64_t key : features[f].keys) {
      owners[at] = placement.owner(key);
      ++keys[f * world + static_cast<size_t>(owners[at++])];
    }
  }
  for (size_t f = 0; f < features.size(); ++f) {
    for (size_t r = 0; r < world; ++r) keys_to[r] += keys[f * world + r];
  }
  packed.group_words.assign(world, 0);
  for (size_t r = 0; r < world; ++r) {
    for (size_t f = 0; f < features.size() && keys_to[r] > 0; ++f) {
      packed.group_words[r] += block_words(features[f], keys[f * world + r], key_words);
    }
  }
  packed.words.assign(
      static_cast<size_t>(std::accumulate(packed.group_words.begin(), packed.group_words.end(), int64_t{0})), 0);
  std::vector<Cursor> cursors(features.size() * world);
  int32_t* out = packed.words.data();
  for (size_t r = 0; r < world; ++r) {
    for (size_t f = 0; f < features.size() && keys_to[r] > 0; ++f) {
      int32_t* const first_key = out + kHead + bags_of(features[f]);
      cursors[f * world + r] = {out, first_key, first_key + keys[f * world + r] * key_words};
      out += block_words(features[f], keys[f * world + r], key_words);
    }
  }
  for (size_t f = 0, at = 0; f < features.size(); at += features[f++].keys.size()) {
    put_by_owner(features[f], std::span(owners).subspan(at, features[f].keys.size()), key_words,
                 std::span(cursors).subspan(f * world, world));
  }
}

void unpack_raw_bags(std::span<const int32_t> words, std::span<const at::ScalarType> weights, int key_words,
                     std::vector<uint64_t>& keys, std::vector<int64_t>& occurrences, std::span<BagList> bags) {
  const int32_t* in = words.data();
  int64_t first = 0;  // key of this feature among those of the rank
  for (size_t f = 0; f < bags.size(); ++f) {
    const int64_t count = *in++, counted = *in++;
    BagList list{.offsets = at::empty({count + 1}, at::kLong), .first = first};
    auto* const offset = list.offsets.mutable_data_ptr<int64_t>();
    offset[0] = 0;
    for (int64_t b = 0; b < count; ++b) offset[b + 1] = offset[b] + *in++;
    const auto entries = static_cast<size_t>(offset[count]), before = keys.size();
    keys.resize(before + entries);
    if (key_words == 2) {
      copy_bytes(in, entries * sizeof(uint64_t), keys.data() + before);
    } else {
      std::transform(in, in + entries, keys.begin() + static_cast<int64_t>(before),
                     [](int32_t key) { return static_cast<uint64_t>(static_cast<uint32_t>(key)); });
    }
    in += static_cast<int64_t>(entries) * key_words;
    occurrences.resize(before + static_cast<size_t>(counted), 1);
    occurrences.resize(before + entries, 0);
    if (weights[f] != at::kLong) {
      list.weights = at::empty({offset[count]}, weights[f]);
      copy_bytes(in, list.weights.nbytes(), list.weights.mutable_data_ptr());
      in += list.weights.nbytes() / sizeof(int32_t);
    }
    first += offset[count];
    bags[f] = std::move(list);
  }
  RONDO_CHECK_EQ(in - words.data(), static_cast<int64_t>(words.size()), "words of bags");
}

}  // namespace rondo
