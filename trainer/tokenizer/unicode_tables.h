#pragma once

#include <cstdint>

namespace rondo::unicode {

/// What the pinned `tokenizers` package does with a code point; generate_unicode_tables.py asks it.
enum Flag : uint8_t {
  kDropped = 1,      // by its cleaning: NUL, U+FFFD, control and format characters
  kSpace = 2,        // white space, which separates words
  kCjk = 4,          // becomes a word of its own
  kPunctuation = 8,  // becomes a word of its own, after normalisation
  kMark = 16,        // a non-spacing mark, dropped when accents are stripped
  kHangul = 32,      // a syllable, decomposed by arithmetic
};

struct Record {
  uint8_t flags;
  uint8_t combining_class;  // of the first code point of its decomposition
  int32_t lower_delta;      // lower case minus itself; U+0130 gives U+0307 in addition
  uint16_t decomposition;   // NFD: `decomposition_length` entries of kSequences from here
  uint8_t decomposition_length;
};

inline constexpr int kBlockShift = 6;
inline constexpr char32_t kTwoLetterLower = 0x130;

extern const uint8_t kBlocks[];
extern const uint16_t kRecordOf[];
extern const Record kRecords[];
extern const char32_t kSequences[];

/// REQUIRES: code_point < 0x110000.
inline const Record& record(char32_t code_point) {
  const auto block = static_cast<uint32_t>(kBlocks[code_point >> kBlockShift]);
  return kRecords[kRecordOf[(block << kBlockShift) + (code_point & ((1U << kBlockShift) - 1))]];
}

}  // namespace rondo::unicode
