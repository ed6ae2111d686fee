#pragma once

#include <cstdint>
#include <string_view>

namespace rondo {

/// Reads the code point that `text` starts with, at most `size` bytes of it. Returns its length in bytes (1 to 4), or 0
/// where the bytes are not UTF-8: a stray byte, a sequence cut short, an overlong form, a surrogate.
/// REQUIRES: size >= 1.
inline int decode_utf8(const char* text, int64_t size, char32_t& code_point) {
  const auto byte = [text](int i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    code_point = lead;
    return 1;
  }
  const int length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || size < length) return 0;
  char32_t value = lead & (0x7FU >> length);
  bool good = true;
  for (int i = 1; i < length; ++i) {
    good = good && (byte(i) & 0xC0) == 0x80;
    value = (value << 6) | (byte(i) & 0x3FU);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (!good || value < kSmallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
  code_point = value;
  return length;
}

/// Writes 1 to 4 bytes and returns their number.
inline int encode_utf8(char32_t code_point, char* out) {
  const auto tail = [code_point](int shift) { return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) {
    out[0] = static_cast<char>(code_point);
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = static_cast<char>(0xC0 | (code_point >> 6));
    out[1] = tail(0);
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = static_cast<char>(0xE0 | (code_point >> 12));
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | (code_point >> 18));
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

inline bool is_utf8(std::string_view text) {
  char32_t ignored = 0;
  while (!text.empty()) {
    const int length = decode_utf8(text.data(), static_cast<int64_t>(text.size()), ignored);
    if (length == 0) return false;
    text.remove_prefix(static_cast<size_t>(length));
  }
  return true;
}

}  // namespace rondo
