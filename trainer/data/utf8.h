#pragma once

#include <string>
#include <string_view>

namespace rondo {

/// Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF) without NUL.
bool is_valid_utf8(std::string_view bytes);

bool is_ascii(std::string_view bytes);

/// ISO 8859-1 as UTF-8, added to `out`.
void append_latin1(std::string_view bytes, std::string& out);

}  // namespace rondo
