#include "sharding/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace rondo {
namespace {

int length_of(const std::string& text) {
  char32_t code_point = 0;
  return decode_utf8(text.data(), static_cast<int64_t>(text.size()), code_point);
}

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    char bytes[4];
    const int length = encode_utf8(c, bytes);
    char32_t back = 0;
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(decode_utf8(bytes, length, back), surrogate ? 0 : length) << static_cast<uint32_t>(c);
    if (!surrogate) {
      ASSERT_EQ(back, c);
      if (length > 1) {
        ASSERT_EQ(decode_utf8(bytes, length - 1, back), 0) << static_cast<uint32_t>(c) << " cut short";
      }
    }
  }
}

TEST(Utf8, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(length_of("\x80"), 0);              // stray
  EXPECT_EQ(length_of("\xC0\x80"), 0);          // overlong NUL
  EXPECT_EQ(length_of("\xE0\x9F\xBF"), 0);      // overlong U+07FF
  EXPECT_EQ(length_of("\xF0\x8F\xBF\xBF"), 0);  // overlong U+FFFF
  EXPECT_EQ(length_of("\xF4\x90\x80\x80"), 0);  // beyond U+10FFFF
  EXPECT_EQ(length_of("\xFF"), 0);
  EXPECT_EQ(length_of("\xE4\xBD\x41"), 0);
  EXPECT_EQ(length_of("\xC3\xA9x"), 2);
}

TEST(Utf8, JudgesWholeTexts) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("na\xC3\xAFve \xE4\xBD\xA0 \xF0\x9F\x98\x8A"));
  EXPECT_FALSE(is_utf8("na\xEFve"));
  EXPECT_FALSE(is_utf8("cut \xE4\xBD"));
}

}  // namespace
}  // namespace rondo
