// Parsers of sources on any bytes: no crash, and what is promised of their results.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/civil_time.h"
#include "trainer/data/delimited_parser.h"
#include "trainer/data/json_lines_reader.h"
#include "trainer/data/record_columns.h"
#include "trainer/data/utf8.h"

extern "C" const char* const kFuzzSeeds[] = {
    "a,b,c\n1,2,3\n",
    "\"say \"\"so\"\"\",\"two\nlines\",x\r\n\"\",,\n",
    "\"unclosed,1\n2,3\n",
    "{\"a\": \"x\", \"b\": [1, 2.5, [true]], \"c\": {\"a\": null}}",
    "2010-12-01T08:26:00.25+01:00",
    "31/12/2010 08:26 PM",
    "caf\xC3\xA9 \xF0\x9F\x98\x80|genre|\xE2\x82",
    nullptr,
};

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// Every byte belongs to one record, and more text behind a record does not change it.
void split(std::string_view text, bool quoted) {
  rondo::DelimitedParser parser(',', quoted), again(',', quoted);
  std::vector<std::string_view> fields, same;
  while (!text.empty()) {
    const auto result = parser.parse(text, true, fields);
    require(result.status != rondo::DelimitedParser::Status::kNeedsMore);
    require(result.size > 0 && result.size <= text.size());
    const auto early = again.parse(text, false, same);
    if (early.status == rondo::DelimitedParser::Status::kRecord) {
      require(result.status == early.status && result.size == early.size && fields == same);
    }
    text.remove_prefix(result.size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  split(text, true);
  split(text, false);

  static rondo::JsonObjectParser parser({"a", "b"});
  require(parser.parse(text).empty() || parser.values().size() == 2);

  for (const std::string_view separator : {"", "|", " - "}) {
    std::vector<std::string_view> elements;
    rondo::append_elements(text, separator, elements);
    for (const std::string_view element : elements) require(!element.empty());
  }

  const auto iso = rondo::read_iso(text);
  require(!iso || (iso->month >= 1 && iso->month <= 12));
  static_cast<void>(rondo::read_pattern(text, "%d/%m/%Y %I:%M %p"));

  std::string converted;
  rondo::append_latin1(text, converted);
  require(rondo::is_valid_utf8(converted) == (text.find('\0') == std::string_view::npos));
  require(!rondo::is_ascii(text) || converted == text);
  return 0;
}
