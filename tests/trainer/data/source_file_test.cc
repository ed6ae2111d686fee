#include "trainer/data/source_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>

#include "sharding/base/error.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SourceFileTest : public ::testing::Test {
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
                                          const std::vector<std::string>& columns) {
    std::vector<std::string> out;
    SourceFile source(path, options, columns);
    for (SourceRecord record; source.next(record);) {
      std::string text = std::to_string(record.line);
      if (record.rejected != nullptr) {
        text += std::string("! ") + record.rejected;
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

TEST_F(SourceFileTest, ReadsColumnsByNameInTheOrderAsked) {
  EXPECT_THAT(records(file("a,b,c\n1,2,3\n\n4,,6\r\n7,8,9"), {}, {"c", "a"}),
              ElementsAre("2: 3|1", "4: 6|4", "5: 9|7"));
}

TEST_F(SourceFileTest, ReadsColumnsByPositionWithoutHeader) {
  FileOptions options;
  options.header = false;
  options.delimiter = '\t';
  EXPECT_THAT(records(file("1\t2\n3\t4\n"), options, {"2"}), ElementsAre("1: 2", "2: 4"));
}

TEST_F(SourceFileTest, UnpacksQuotesAndCountsLinesInside) {
  EXPECT_THAT(records(file("a,b\n\"x, \"\"y\"\"\nz\",2\n\"\",4\n5,6\n"), {}, {"a", "b"}),
              ElementsAre("2: x, \"y\"\nz|2", "4: |4", "5: 5|6"));
}

TEST_F(SourceFileTest, RejectsWhatIsNoRecordAndGoesOn) {
  using std::string;
  const string text = "a,b\n1\n\xC3(,2\n" + string("x\0y,2\n", 6) + "\"a\"b,2\n1,2\n";
  EXPECT_THAT(records(file(text), {}, {"a", "b"}), ElementsAre("2! wrong number of columns", "3! invalid UTF-8",
                                                               "4! NUL byte", "5! broken quotes", "6: 1|2"));
}

TEST_F(SourceFileTest, ALineTooLongIsRejectedAndSkipped) {
  const std::string text = "a,b\n" + std::string(3 << 20, 'x') + ",2\n1,2\n";
  EXPECT_THAT(records(file(text), {}, {"a", "b"}), ElementsAre("2! line too long", "3: 1|2"));
}

TEST_F(SourceFileTest, ReadsLatin1AndByteOrderMarks) {
  FileOptions options;
  options.encoding = Encoding::kLatin1;
  EXPECT_THAT(records(file("a\ncaf\xE9\n"), options, {"a"}), ElementsAre("2: caf\xC3\xA9"));
  EXPECT_THAT(records(file("\xEF\xBB\xBF"
                           "a\n1\n"),
                      {}, {"a"}),
              ElementsAre("2: 1"));
}

TEST_F(SourceFileTest, ReadsGzipByContentAndAcrossBlocks) {
  std::string text = "a,b\n";
  for (int i = 0; i < 300'000; ++i) text += std::to_string(i) + ",row\n";
  const auto all = records(gzip(text), {}, {"a"});
  ASSERT_EQ(all.size(), 300'000U);
  EXPECT_EQ(all.back(), "300001: 299999");
}

TEST_F(SourceFileTest, ATruncatedGzipFileIsAnError) {
  std::string text = "a,b\n";
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919 % 100'003) + ",row\n";
  gzip(text);
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  EXPECT_THAT(data_error([&] { records(path_, {}, {"a"}); }), HasSubstr("the gzip file is truncated"));
}

TEST_F(SourceFileTest, MissingAndEmptyFilesAndWrongColumnsSaySo) {
  EXPECT_THAT(data_error([&] { records("no/such.csv", {}, {"a"}); }, ExitCode::kMissingInput),
              HasSubstr("no/such.csv"));
  EXPECT_THAT(data_error([&] { records(file(""), {}, {"a"}); }), HasSubstr("the file is empty"));
  EXPECT_THAT(data_error([&] { records(file("user,item\n1,2\n"), {}, {"user", "itm"}); }),
              HasSubstr(":1: no column \"itm\"; did you mean \"item\"? The header has: user, item"));
  EXPECT_THAT(data_error([&] { records(file("user,item\n1,2\n"), {}, {"3"}); }), HasSubstr("the first line has 2"));
}

TEST_F(SourceFileTest, ReadsJsonLines) {
  FileOptions options;
  options.kind = FileKind::kJsonLines;
  EXPECT_THAT(records(file("{\"a\": \"x\", \"b\": [1, \"y\"]}\n{\"a\": 2}\n[1]\n{\"a\": \n"), options, {"a", "b"}),
              ElementsAre("1: x|1\x1fy", "2: 2|", "3! no JSON object", "4! no JSON object"));
}

}  // namespace
}  // namespace rondo
