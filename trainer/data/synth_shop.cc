#include "trainer/data/synth_shop.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "sharding/base/permutation.h"

namespace rondo {
namespace {

/// What is drawn of an item, one element each; words from kWords on.
enum Draw : uint64_t { kStyle, kAppears, kCategory, kBrand, kPrice, kWords = 16 };

constexpr uint64_t kWordsPerStyle = 24;
constexpr uint64_t kCommonWords = 60;
constexpr int64_t kTitleWords = 5;
constexpr int64_t kDescriptionWords = 14;

constexpr std::array kSyllables{"ba", "be", "bo", "da", "de", "do", "fa", "fi", "ga", "go", "ka",
                                "ke", "ki", "la", "le", "li", "lo", "ma", "me", "mi", "mo", "na",
                                "ne", "no", "pa", "pe", "po", "ra", "re", "ri", "ro", "sa", "se",
                                "si", "so", "ta", "te", "ti", "to", "va", "ve", "vi", "vo", "za"};

/// A word of three syllables; different numbers below 44^3 give different words.
std::string word(uint64_t number) {
  std::string text;
  for (int i = 0; i < 3; ++i) {
    text += kSyllables[number % kSyllables.size()];
    number /= kSyllables.size();
  }
  return text;
}

/// Words of a style spread over the range so that neighbours in number look different.
std::string style_word(uint64_t style, uint64_t index) {
  constexpr uint64_t kAll = kSyllables.size() * kSyllables.size() * kSyllables.size();
  static const Permutation order(kAll - kCommonWords, 77);
  return word(kCommonWords + order((style * kWordsPerStyle + index) % (kAll - kCommonWords)));
}

/// About twenty items a style, so that a style is worth knowing and its items are many.
int64_t styles_of(int64_t items) { return std::clamp<int64_t>(items / 20, 4, 2000); }

/// Popularity of the item at place `rank` of `count` by rank: a power law with exponent 0.8, in integers. The exponent
/// is built from square roots, which every machine rounds alike.
uint64_t popularity(uint64_t rank) {
  const auto root = [](uint64_t x) {
    uint64_t r = 0;
    for (uint64_t bit = uint64_t{1} << 31; bit != 0; bit >>= 1) {
      if ((r | bit) * (r | bit) <= x) r |= bit;
    }
    return r;
  };
  // rank^0.75 = sqrt(rank) * sqrt(sqrt(rank)), scaled by 2^16.
  const uint64_t half = root((rank + 1) << 32);
  const uint64_t quarter = root(half << 16);
  return (uint64_t{1} << 40) / ((half >> 8) * (quarter >> 8) + 1) + 1;
}

}  // namespace

SynthShop::SynthShop(uint64_t seed, int64_t items)
    : random_(seed, 0, RandomPurpose::kSynth),
      style_(static_cast<size_t>(items)),
      appears_at_(static_cast<size_t>(items)),
      by_style_(static_cast<size_t>(styles_of(items))) {
  const auto styles = static_cast<uint64_t>(by_style_.size());
  for (int64_t item = 0; item < items; ++item) {
    const auto i = static_cast<size_t>(item);
    const auto key = static_cast<uint64_t>(item);
    style_[i] = static_cast<int32_t>(random_.below(styles, key, kStyle));
    // Three of ten items come later, at any time.
    const uint64_t late = random_.below(10, key, kAppears);
    appears_at_[i] = late < 7 ? 0 : static_cast<uint32_t>(random_.below(65536, key, kAppears + 100));
    by_style_[static_cast<size_t>(style_[i])].items.push_back(item);
  }
  for (auto& style : by_style_) {
    std::stable_sort(style.items.begin(), style.items.end(), [this](int64_t a, int64_t b) {
      return appears_at_[static_cast<size_t>(a)] < appears_at_[static_cast<size_t>(b)];
    });
    uint64_t sum = 0;
    for (const int64_t item : style.items) {
      const uint64_t rank = random_.below(style.items.size(), static_cast<uint64_t>(item), kPrice + 100);
      style.weights.push_back(sum += popularity(rank));
    }
  }
}

int64_t SynthShop::pick(int64_t style, uint32_t now, uint64_t draw) const {
  const StyleItems& here = by_style_[static_cast<size_t>(style)];
  const auto sold = std::upper_bound(here.items.begin(), here.items.end(), now, [this](uint32_t time, int64_t item) {
    return time < appears_at_[static_cast<size_t>(item)];
  });
  const auto count = sold - here.items.begin();
  if (count == 0) return -1;
  const uint64_t total = here.weights[static_cast<size_t>(count) - 1];
  const auto target = static_cast<uint64_t>((static_cast<unsigned __int128>(draw) * total) >> 64);
  const auto found = std::upper_bound(here.weights.begin(), here.weights.begin() + count, target);
  return here.items[static_cast<size_t>(found - here.weights.begin())];
}

std::string SynthShop::title(int64_t item) const {
  const auto key = static_cast<uint64_t>(item);
  std::string text;
  for (int64_t i = 0; i < kTitleWords; ++i) {
    const uint64_t element = kWords + static_cast<uint64_t>(i);
    const bool common = random_.below(10, key, element + 200) < 2;
    const std::string next =
        common ? word(random_.below(kCommonWords, key, element))
               : style_word(static_cast<uint64_t>(style(item)), random_.below(kWordsPerStyle, key, element));
    text += (i > 0 ? " " : "") + next;
  }
  return text;
}

std::string SynthShop::description(int64_t item) const {
  const auto key = static_cast<uint64_t>(item);
  std::string text;
  for (int64_t i = 0; i < kDescriptionWords; ++i) {
    const uint64_t element = kWords + 50 + static_cast<uint64_t>(i);
    const bool common = random_.below(10, key, element + 200) < 5;
    const std::string next =
        common ? word(random_.below(kCommonWords, key, element))
               : style_word(static_cast<uint64_t>(style(item)), random_.below(kWordsPerStyle, key, element));
    text += (i > 0 ? " " : "") + next;
  }
  return text;
}

std::string SynthShop::category(int64_t item) const {
  // Four styles share a category.
  return "category " + word(static_cast<uint64_t>(style(item)) / 4 + 1000);
}

std::string SynthShop::brand(int64_t item) const {
  const uint64_t choice = random_.below(3, static_cast<uint64_t>(item), kBrand);
  return word((static_cast<uint64_t>(style(item)) * 7 + choice * 131) % 997 + 20'000) + " co";
}

int64_t SynthShop::price_cents(int64_t item) const {
  const auto key = static_cast<uint64_t>(item);
  return static_cast<int64_t>(99 + 100 * random_.below(20, key, kPrice) * (1 + random_.below(10, key, kPrice + 50)));
}

}  // namespace rondo
