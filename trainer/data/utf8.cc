#include "trainer/data/utf8.h"

#include <cstdint>
#include <cstring>

#include "sharding/base/utf8.h"

namespace rondo {
namespace {

uint64_t word_at(const char* text) {
  uint64_t word = 0;
  std::memcpy(&word, text, sizeof(word));
  return word;
}

/// Eight bytes that are ASCII and not NUL.
bool is_plain_word(uint64_t word) {
  constexpr uint64_t kHighBits = 0x8080808080808080ULL, kOnes = 0x0101010101010101ULL;
  return ((word | (word - kOnes)) & kHighBits) == 0;
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    if (bytes.size() >= sizeof(uint64_t) && is_plain_word(word_at(bytes.data()))) {
      bytes.remove_prefix(sizeof(uint64_t));
      continue;
    }
    char32_t code_point = 0;
    const int length = decode_utf8(bytes.data(), static_cast<int64_t>(bytes.size()), code_point);
    if (length == 0 || code_point == 0) return false;
    bytes.remove_prefix(static_cast<size_t>(length));
  }
  return true;
}

bool is_ascii(std::string_view bytes) {
  unsigned char all = 0;
  for (const char c : bytes) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

void append_latin1(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += static_cast<char>(0xC0 | (byte >> 6));
      out += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
}

}  // namespace rondo
