#include "trainer/data/record_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>

#include "sharding/base/error.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RecordReaderTest : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return path_;
  }

  std::filesystem::path gzip(const std::string& text) {
    gzFile out = gzopen(path_.c_str(), "wb");
    gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
    gzclose(out);
    return path_;
  }

  /// Every record as "line: a|b|c", rejected ones as "line! reason".
  static std::vector<std::string> records(const std::filesystem::path& path, const FileOptions& options,
                                          const std::vector<std::string>& columns, const SourceLimits& limits = {}) {
    std::vector<std::string> out;
    const auto reader = open_records(path, options, columns, limits);
    for (SourceRecord record; reader->next(record);) {
      std::string text = std::to_string(record.line);
      if (!record.reason.empty()) {
        text += "! " + std::string(record.reason);
      } else {
        for (size_t i = 0; i < record.fields.size(); ++i) text += (i == 0 ? ": " : "|") + std::string(record.fields[i]);
      }
      out.push_back(text);
    }
    return out;
  }

  template <typename Body>
  static std::string data_error(const Body& body, ExitCode code = ExitCode::kBadData) {
    try {
      body();
    } catch (const DataError& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown";
    return "";
  }

  std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("source_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(RecordReaderTest, ReadsColumnsByNameInTheOrderAsked) {
  EXPECT_THAT(records(file("a,b,c\n1,2,3\n\n4,,6\r\n7,8,9"), {}, {"c", "a"}),
              ElementsAre("2: 3|1", "4: 6|4", "5: 9|7"));
}

TEST_F(RecordReaderTest, ReadsColumnsByPositionWithoutHeader) {
  FileOptions options;
  options.header = false;
  options.delimiter = '\t';
  EXPECT_THAT(records(file("1\t2\n3\t4\n"), options, {"2"}), ElementsAre("1: 2", "2: 4"));
}

TEST_F(RecordReaderTest, UnpacksQuotesAndCountsLinesInside) {
  EXPECT_THAT(records(file("a,b\n\"x, \"\"y\"\"\nz\",2\n\"\",4\n5,6\n"), {}, {"a", "b"}),
              ElementsAre("2: x, \"y\"\nz|2", "4: |4", "5: 5|6"));
}

TEST_F(RecordReaderTest, RejectsWhatIsNoRecordAndGoesOn) {
  using std::string;
  const string text = "a,b\n1\n\xC3(,2\n" + string("x\0y,2\n", 6) + "\"a\"b,2\n1,2\n";
  EXPECT_THAT(records(file(text), {}, {"a", "b"}),
              ElementsAre("2! wrong number of columns", "3! invalid UTF-8", "4! NUL byte",
                          "5! text behind a closing quotation mark", "6: 1|2"));
}

TEST_F(RecordReaderTest, AQuotationMarkOpensAFieldOnlyAtItsStart) {
  EXPECT_THAT(records(file("a,b\n5\" nail,2\nx,\"y\"\n"), {}, {"a", "b"}), ElementsAre("2: 5\" nail|2", "3: x|y"));
  FileOptions unquoted;
  unquoted.quoted = false;
  EXPECT_THAT(records(file("a,b\n\"x,2\n"), unquoted, {"a", "b"}), ElementsAre("2: \"x|2"));
}

TEST_F(RecordReaderTest, AnUnclosedQuotationMarkCostsOneLine) {
  EXPECT_THAT(records(file("a,b\n\"x,2\n3,4\n5,6\n"), {}, {"a", "b"}),
              ElementsAre("2! unclosed quotation mark", "3: 3|4", "4: 5|6"));
  const SourceLimits small{16, 32};  // found out at the limit, not at the end of the file
  EXPECT_THAT(records(file("a,b\n\"x,2\n3,4\n5,6\n" + std::string(100, '7') + ",8\n"), {}, {"a"}, small),
              ElementsAre("2! unclosed quotation mark", "3: 3", "4: 5", "5! line too long"));
}

/// RFC 4180 by the character, as it is written down: no look-ahead, no blocks.
std::vector<std::vector<std::string>> read_plainly(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>(1));
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string& field = rows.back().back();
    if (inside && text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[i++];
    } else if (text[i] == '"') {
      inside = !inside;
    } else if (!inside && text[i] == ',') {
      rows.back().emplace_back();
    } else if (!inside && text[i] == '\n') {
      rows.emplace_back(1);
    } else {
      field += text[i];
    }
  }
  rows.pop_back();
  return rows;
}

TEST_F(RecordReaderTest, BlocksOfAnySizeGiveTheSameRecords) {
  constexpr const char* kFields[] = {"",       "x",     "\"\"", "\"a,b\"", "\"two\nlines\"", "\"say \"\"so\"\"\"",
                                     "longer", "\"\n\""};
  std::string text = "a,b,c\n";
  for (uint64_t i = 0; i < 400; ++i) {
    const uint64_t draw = mix64(i);
    text += "k" + std::to_string(i) + "," + kFields[draw % 8] + "," + kFields[(draw >> 8) % 8] + "\n";
  }
  std::vector<std::string> expected;
  for (const auto& row : read_plainly(text)) expected.push_back(row[0] + "|" + row[1] + "|" + row[2]);
  expected.erase(expected.begin());
  for (const size_t block : {1, 2, 3, 7, 64, 100'000}) {
    std::vector<std::string> got = records(file(text), {}, {"a", "b", "c"}, {block, 1 << 20});
    for (auto& record : got) record.erase(0, record.find(": ") + 2);
    EXPECT_EQ(got, expected) << "blocks of " << block;
  }
}

TEST_F(RecordReaderTest, ALineTooLongIsRejectedAndSkipped) {
  const std::string text = "a,b\n" + std::string(3 << 20, 'x') + ",2\n1,2\n";
  EXPECT_THAT(records(file(text), {}, {"a", "b"}), ElementsAre("2! line too long", "3: 1|2"));
}

TEST_F(RecordReaderTest, ReadsLatin1AndByteOrderMarks) {
  FileOptions options;
  options.encoding = Encoding::kLatin1;
  EXPECT_THAT(records(file("a\ncaf\xE9\n"), options, {"a"}), ElementsAre("2: caf\xC3\xA9"));
  EXPECT_THAT(records(file("a\n\xC3\xA9\n"), options, {"a"}), ElementsAre("2: \xC3\x83\xC2\xA9"));  // UTF-8 by chance
  EXPECT_THAT(records(file("\xEF\xBB\xBF"
                           "a\n1\n"),
                      {}, {"a"}),
              ElementsAre("2: 1"));
}

TEST_F(RecordReaderTest, ReadsGzipByContentAndAcrossBlocks) {
  std::string text = "a,b\n";
  for (int i = 0; i < 300'000; ++i) text += std::to_string(i) + ",row\n";
  const auto all = records(gzip(text), {}, {"a"});
  ASSERT_EQ(all.size(), 300'000U);
  EXPECT_EQ(all.back(), "300001: 299999");
}

TEST_F(RecordReaderTest, ConcatenatedGzipFilesAreOne) {
  gzip("a\n1\n");
  std::ifstream first(path_, std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(first), {}};
  first.close();
  gzip("2\n");
  std::ifstream second(path_, std::ios::binary);
  const std::string more{std::istreambuf_iterator<char>(second), {}};
  second.close();
  EXPECT_THAT(records(file(packed + more + std::string(700, '\0')), {}, {"a"}), ElementsAre("2: 1", "3: 2"));
  EXPECT_THAT(data_error([&] { records(file(packed + "x"), {}, {"a"}); }), HasSubstr("bytes behind the end"));
  std::string damaged = packed;
  damaged[damaged.size() - 8] ^= 1;  // in the checksum
  EXPECT_THAT(data_error([&] { records(file(damaged), {}, {"a"}); }), HasSubstr("damaged"));
}

TEST_F(RecordReaderTest, ATruncatedGzipFileIsAnError) {
  std::string text = "a,b\n";
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919 % 100'003) + ",row\n";
  gzip(text);
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  EXPECT_THAT(data_error([&] { records(path_, {}, {"a"}); }), HasSubstr("the gzip file is truncated"));
}

TEST_F(RecordReaderTest, MissingAndEmptyFilesAndWrongColumnsSaySo) {
  EXPECT_THAT(data_error([&] { records("no/such.csv", {}, {"a"}); }, ExitCode::kMissingInput),
              HasSubstr("no/such.csv"));
  EXPECT_THAT(data_error([&] { records(::testing::TempDir(), {}, {"a"}); }), HasSubstr("is a folder"));
  EXPECT_THAT(data_error([&] { records(file("a,b,a\n1,2,3\n"), {}, {"a"}); }),
              HasSubstr("two columns are called \"a\""));
  EXPECT_THAT(data_error([&] { records(file(""), {}, {"a"}); }), HasSubstr("the file is empty"));
  EXPECT_THAT(data_error([&] { records(file("user,item\n1,2\n"), {}, {"user", "itm"}); }),
              HasSubstr(":1: no column \"itm\"; did you mean \"item\"? The header has: user, item"));
  EXPECT_THAT(data_error([&] { records(file("user,item\n1,2\n"), {}, {"3"}); }), HasSubstr("the first line has 2"));
}

TEST_F(RecordReaderTest, ReadsJsonLines) {
  FileOptions options;
  options.kind = FileKind::kJsonLines;
  EXPECT_THAT(records(file("{\"a\": \"x\", \"b\": [1, \"y\"]}\n{\"a\": 2}\n[1]\n{\"a\": \n"), options, {"a", "b"}),
              ElementsAre("1: x|1\x1fy", "2: 2|", "3! no JSON object", "4! no JSON object"));
  EXPECT_THAT(
      records(file("{\"b\": {\"a\": 5}, \"a\": 12345678901234567890123, \"c\": 1}\r\n\n{\"a\": null, \"b\": true}\n"
                   "{\"a\": \"\\u0000\"}\n{\"a\": [1.50, [\"x\"]], \"a\": \"last\"}"),
              options, {"a", "b"}),
      ElementsAre("1: 12345678901234567890123|", "3: |true", "4! NUL byte", "5: last|"));
  EXPECT_THAT(
      records(file("{\"a\": 1}\n{\"a\": \"" + std::string(100, 'x') + "\"}\n{\"a\": 3}"), options, {"a"}, {8, 32}),
      ElementsAre("1: 1", "2! line too long", "3: 3"));
  EXPECT_THAT(data_error([&] { records(file("{\"title\": 1}\n{\"title\": 2}\n"), options, {"titel"}); }),
              HasSubstr("no record has \"titel\"; did you mean \"title\"?"));
}

}  // namespace
}  // namespace rondo
