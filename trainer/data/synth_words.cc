#include "trainer/data/synth_words.h"

#include <array>
#include <string_view>

namespace rondo {
namespace {

/// What is drawn of an item (key), one element each; the words of a text from kTitle or kDescription on.
enum WordDraw : uint64_t { kTitle = 0, kDescription = 16, kBrand = 48, kBrandOfStyle, kPrice };

using Words = std::array<std::string_view, 6>;

constexpr std::array<std::string_view, SynthShop::kDepartments> kDepartmentNames{
    "kitchen", "lighting", "bedroom",   "garden", "office", "bath",
    "toys",    "party",    "jewellery", "travel", "sewing", "pets"};

/// What the things of a department are called: type % departments, then type / departments.
constexpr std::array<std::array<std::string_view, 8>, SynthShop::kDepartments> kNouns{{
    {"teapot", "mug", "tray", "bowl", "plate", "jug", "cake tin", "apron"},
    {"lamp", "lantern", "candle holder", "chandelier", "night light", "tea light", "spotlight", "lamp shade"},
    {"cushion", "blanket", "pillow", "quilt", "bed tray", "mirror", "clock", "drawer knob"},
    {"planter", "watering can", "bird house", "trowel", "wind chime", "garden bench", "parasol", "fountain"},
    {"notebook", "pen", "desk tidy", "letter rack", "calendar", "stapler", "bookend", "memo board"},
    {"towel", "soap dish", "bath mat", "shower cap", "tumbler", "sponge", "laundry bag", "hook"},
    {"puzzle", "doll", "spinning top", "building set", "kite", "board game", "play house", "puppet"},
    {"bunting", "balloon", "paper cup", "napkin", "gift bag", "garland", "party hat", "cake stand"},
    {"necklace", "bracelet", "ring", "brooch", "earrings", "hair clip", "pendant", "jewel box"},
    {"suitcase", "passport cover", "lunch box", "flask", "umbrella", "backpack", "luggage tag", "purse"},
    {"ribbon", "button set", "pin cushion", "yarn", "thimble", "fabric", "sewing box", "tape measure"},
    {"collar", "feeding dish", "pet basket", "leash", "scratching post", "bird cage", "pet toy", "aquarium"},
}};

constexpr std::array<Words, SynthShop::kStyles> kStyleWords{{
    {"rustic", "farmhouse", "weathered", "hearth", "country", "homespun"},
    {"minimalist", "plain", "clean", "nordic", "simple", "pared"},
    {"vintage", "antique", "heirloom", "retro", "nostalgic", "classic"},
    {"floral", "rose", "blossom", "meadow", "petal", "botanic"},
    {"nautical", "anchor", "harbour", "sailor", "coastal", "regatta"},
    {"industrial", "workshop", "riveted", "factory", "urban", "loft"},
    {"royal", "baroque", "gilded", "palace", "ornate", "regal"},
    {"playful", "circus", "polka", "cartoon", "bright", "funny"},
    {"gothic", "raven", "midnight", "cathedral", "shadow", "velvet"},
    {"tropical", "palm", "parrot", "jungle", "island", "mango"},
    {"alpine", "chalet", "edelweiss", "mountain", "fir", "snow"},
    {"futuristic", "neon", "orbit", "chrome", "space", "laser"},
}};

constexpr std::array<Words, SynthShop::kMaterials> kMaterialWords{{
    {"oak", "walnut", "pine", "wooden", "timber", "bamboo"},
    {"glass", "crystal", "frosted", "transparent", "blown", "clear"},
    {"ceramic", "porcelain", "stoneware", "glazed", "earthenware", "clay"},
    {"cotton", "linen", "woven", "cloth", "canvas", "muslin"},
    {"steel", "iron", "metal", "forged", "tin", "brushed"},
    {"leather", "suede", "hide", "stitched", "saddle", "tanned"},
    {"wool", "felt", "knitted", "fleece", "cashmere", "tweed"},
    {"paper", "card", "printed", "folded", "parchment", "pulp"},
    {"silver", "gold", "brass", "copper", "plated", "bronze"},
    {"rubber", "silicone", "plastic", "acrylic", "vinyl", "resin"},
}};

constexpr std::array<std::string_view, 24> kFiller{
    "for",   "with",   "the",     "new", "set", "large", "small", "ideal", "gift", "made", "home", "your",
    "every", "lovely", "quality", "day", "use", "and",   "our",   "best",  "pack", "size", "care", "easy"};

constexpr std::array<std::string_view, 20> kSyllables{"ba", "do", "fe", "gu", "ka", "le", "mi", "no", "pa", "ro",
                                                      "sa", "te", "vi", "zo", "lu", "ne", "ri", "to", "mo", "da"};

/// A made-up word; numbers below 20^3 give different ones.
void append_made_up(uint64_t number, std::string& text) {
  for (int i = 0; i < 3; ++i) {
    text += kSyllables[number % kSyllables.size()];
    number /= kSyllables.size();
  }
}

/// The noun of a type, and behind the nouns that there are the name of a line: "lamp", "lamp badoba", ...
void append_noun(int64_t type, std::string& text) {
  const auto& nouns = kNouns[static_cast<size_t>(type % SynthShop::kDepartments)];
  const auto place = static_cast<size_t>(type / SynthShop::kDepartments);
  text += nouns[place % nouns.size()];
  if (place < nouns.size()) return;
  text += ' ';
  append_made_up(place / nouns.size() * 7, text);
}

template <size_t kSize>
void append_one(const std::array<std::string_view, kSize>& words, uint64_t draw, std::string& text) {
  text += words[(draw >> 8) % kSize];
}

/// A word of the style or, seldom, of any style: what a text says of an item is not always so.
const Words& style_words(int64_t style, uint64_t draw) {
  return kStyleWords[(draw & 0xff) < 26 ? (draw >> 40) % SynthShop::kStyles : static_cast<size_t>(style)];
}

const Words& material_words(int64_t material, uint64_t draw) {
  return kMaterialWords[(draw & 0xff) < 26 ? (draw >> 40) % SynthShop::kMaterials : static_cast<size_t>(material)];
}

}  // namespace

void SynthWords::append_title(int64_t item, std::string& text) const {
  const auto draw = [&](uint64_t word) { return random_.bits(static_cast<uint64_t>(item), kTitle + word); };
  if (draw(0) >> 60 != 0) {  // one of sixteen does not say
    append_one(style_words(shop_.style(item), draw(1)), draw(1), text);
    text += ' ';
  }
  append_one(material_words(shop_.material(item), draw(2)), draw(2), text);
  text += ' ';
  append_noun(shop_.type(item), text);
  if (draw(3) >> 62 == 0) {
    text += ' ';
    append_one(kFiller, draw(4), text);
  }
}

void SynthWords::append_description(int64_t item, std::string& text) const {
  const auto draw = [&](uint64_t word) { return random_.bits(static_cast<uint64_t>(item), kDescription + word); };
  for (uint64_t word = 0; word < 10; ++word) {
    if (word > 0) text += ' ';
    if (word == 4) {
      text += kDepartmentNames[static_cast<size_t>(shop_.type(item) % SynthShop::kDepartments)];
    } else if (word == 1 || word == 7) {
      append_one(style_words(shop_.style(item), draw(word)), draw(word), text);
    } else if (word == 2 || word == 8) {
      append_one(material_words(shop_.material(item), draw(word)), draw(word), text);
    } else {
      append_one(kFiller, draw(word), text);
    }
  }
}

void SynthWords::append_category(int64_t item, std::string& text) const {
  text += kDepartmentNames[static_cast<size_t>(shop_.type(item) % SynthShop::kDepartments)];
}

void SynthWords::append_brand(int64_t item, std::string& text) const {
  const auto key = static_cast<uint64_t>(item);
  const bool of_style = random_.below(10, key, kBrandOfStyle) < 7;
  const uint64_t style =
      of_style ? static_cast<uint64_t>(shop_.style(item)) : random_.below(SynthShop::kStyles, key, kBrand + 8);
  append_made_up(style * 331 + random_.below(5, key, kBrand) * 17 + 5, text);
}

int64_t SynthWords::price_cents(int64_t item) const {
  const int64_t base = 200 + 300 * (shop_.type(item) % 17);
  const auto jitter = static_cast<int64_t>(random_.below(100, static_cast<uint64_t>(item), kPrice));
  return base * (4 + shop_.style(item)) * (60 + jitter) / 1000 + 49;
}

}  // namespace rondo
