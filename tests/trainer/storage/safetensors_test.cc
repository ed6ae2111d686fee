#include "trainer/storage/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string with_length(const std::string& header, const std::string& data) {
  const auto length = static_cast<uint64_t>(header.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsReader open(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return SafetensorsReader(path_);
  }

  /// What is said of a file that is refused.
  std::string refusal(const std::string& bytes) {
    try {
      open(bytes);
    } catch (const DataError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
      EXPECT_THAT(error.what(), HasSubstr(path_.string()));
      return error.what();
    }
    ADD_FAILURE() << "accepted";
    return "";
  }
  std::string refusal(const std::string& header, size_t data_bytes) {
    return refusal(with_length(header, std::string(data_bytes, 'x')));
  }

  testing::ScratchFolder folder_;
  std::filesystem::path path_ = folder_.path() / "model.safetensors";
};

std::string read(const SafetensorsReader& file, std::string_view name) {
  const SafetensorsEntry* entry = file.find(name);
  std::string bytes(static_cast<size_t>(entry->bytes()), '\0');
  file.read(*entry, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

TEST_F(SafetensorsTest, WritesTheBytesOfTheFormat) {
  const float values[] = {1.0F, 2.0F};
  const std::string bytes = safetensors_bytes(
      {{"a", SafetensorsType::kFloat32, {2}, {reinterpret_cast<const char*>(values), sizeof values}}}, {});
  EXPECT_EQ(bytes, std::string("\x38\0\0\0\0\0\0\0", 8) +
                       R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  )" +
                       std::string("\0\0\x80\x3f\0\0\0\x40", 8));
}

TEST_F(SafetensorsTest, ReadsWhatItWrites) {
  const SafetensorsReader file = open(safetensors_bytes({{"z.scalar", SafetensorsType::kInt64, {}, "12345678"},
                                                         {"b", SafetensorsType::kFloat16, {3, 1}, "abcdef"},
                                                         {"\u00E9", SafetensorsType::kFloat16, {2, 0, 5}, ""},
                                                         {"a", SafetensorsType::kUint8, {1}, "!"}},
                                                        {{"format", "pt"}, {"\"", "\\"}}));
  std::vector<std::string> names;
  for (const SafetensorsEntry& tensor : file.tensors()) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("z.scalar", "b", "\u00E9", "a"));
  EXPECT_EQ(read(file, "z.scalar"), "12345678");
  EXPECT_EQ(read(file, "b"), "abcdef");
  EXPECT_EQ(read(file, "\u00E9"), "");
  EXPECT_EQ(read(file, "a"), "!");
  EXPECT_THAT(file.find("z.scalar")->shape, ElementsAre());
  EXPECT_THAT(file.find("\u00E9")->shape, ElementsAre(2, 0, 5));
  EXPECT_EQ(file.find("b")->type, SafetensorsType::kFloat16);
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"\"", "\\"}}));
}

TEST_F(SafetensorsTest, AcceptsBlanksAroundTheHeaderAndNoTensors) {
  const std::string header = R"({"a":{"dtype":"U8","data_offsets":[0,2],"shape":[2]}})";
  EXPECT_EQ(read(open(with_length("\n \t" + header + "   ", "ab")), "a"), "ab");
  EXPECT_TRUE(open(with_length("{}", "")).tensors().empty());
  EXPECT_TRUE(open(with_length(R"({"__metadata__":{}})", "")).tensors().empty());
}

// Names in comments: the cases of the reference's tests (safetensors/src/tensor.rs).
TEST_F(SafetensorsTest, RefusesBadLengths) {
  EXPECT_THAT(refusal("", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(std::string("1234567")), HasSubstr("7 bytes are too few"));         // test_header_too_small
  EXPECT_THAT(refusal(std::string(8, '\xff')), HasSubstr("at most 100000000 expected"));  // test_header_too_large
  EXPECT_THAT(refusal(std::string("\0\xe1\xf5\x05\0\0\0\0", 8)),
              HasSubstr("a header of 100000000 bytes is announced, the file has 8 bytes"));
  EXPECT_THAT(refusal(std::string("\3\0\0\0\0\0\0\0{}", 10)), HasSubstr("the file has 10 bytes"));  // invalid length
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNoSuchObject) {
  EXPECT_THAT(refusal("\xff{}", 0), HasSubstr("not UTF-8"));  // test_invalid_header_non_utf8
  EXPECT_THAT(refusal("{\"\xed\xa0\x80\":1}", 0), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal("{", 0), HasSubstr("is not JSON (at its byte 2)"));  // test_invalid_header_not_json
  EXPECT_THAT(refusal("{}{}", 0), HasSubstr("is not JSON"));
  EXPECT_THAT(refusal("[]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("\xEF\xBB\xBF{}", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(std::string("{}\0{}", 5), 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(R"({"a":3})", 0), HasSubstr(R"(tensor "a": an object with dtype)"));
  EXPECT_THAT(refusal(R"({"a":[]})", 0), HasSubstr(R"(tensor "a": an object with dtype)"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":3}})", 0), HasSubstr(R"(text expected for "a")"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":{}}})", 0), HasSubstr(R"(text expected for "a")"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":"","a":""}})", 0), HasSubstr(R"(member "a" stands twice)"));
}

TEST_F(SafetensorsTest, RefusesBadTensors) {
  const auto tensor = [&](const std::string& members, size_t bytes = 4) {
    return refusal(R"({"good":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{)" + members + "}}", bytes + 1);
  };
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1])"), HasSubstr(R"(tensor "t": data_offsets is missing)"));
  EXPECT_THAT(tensor(R"("shape":[1],"data_offsets":[1,5])"), HasSubstr(R"(tensor "t": dtype is missing)"));
  EXPECT_THAT(tensor(R"("dtype":"F31","shape":[1],"data_offsets":[1,5])"), HasSubstr(R"(dtype "F31" is not known)"));
  EXPECT_THAT(tensor(R"("dtype":4,"shape":[1],"data_offsets":[1,5])"), HasSubstr("dtype: text expected"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":1,"data_offsets":[1,5])"), HasSubstr("shape: whole numbers from 0"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[1,5])"), HasSubstr("shape: whole numbers from 0"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[1,5])"), HasSubstr("shape: whole numbers from 0"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[[1]],"data_offsets":[1,5])"), HasSubstr("shape: whole numbers from 0"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":["1"],"data_offsets":[1,5])"), HasSubstr("shape: whole numbers from 0"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[1,5,9])"), HasSubstr("2 numbers expected, found 3"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[1,9223372036854775808])"), HasSubstr("too large"));
  EXPECT_THAT(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[1,5],"strides":[1])"),
              HasSubstr(R"(unknown member "strides")"));
  EXPECT_THAT(tensor(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[1,5])"),
              HasSubstr(R"(tensor "t": member "dtype" stands twice)"));
  EXPECT_THAT(tensor(R"("dtype":"F4","shape":[1],"data_offsets":[1,1])"), HasSubstr("does not fill whole bytes"));
}

TEST_F(SafetensorsTest, RefusesDataThatTheTensorsDoNotCover) {
  const auto two = [&](const std::string& first, const std::string& second, size_t bytes) {
    return refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[)" + first +
                       R"(]},"b":{"dtype":"F32","shape":[1],"data_offsets":[)" + second + "]}}",
                   bytes);
  };
  EXPECT_THAT(two("0,4", "0,4", 4), HasSubstr(R"(tensor "b": begins at byte 0 of the data, 4 expected: tensors over)"));
  EXPECT_THAT(two("0,4", "2,6", 6), HasSubstr("overlap"));  // test_json_attack
  EXPECT_THAT(two("0,4", "5,9", 9),
              HasSubstr(R"(tensor "b": begins at byte 5 of the data, 4 expected: tensors leave)"));
  EXPECT_THAT(two("4,8", "8,12", 12), HasSubstr(R"(tensor "a": begins at byte 4 of the data, 0 expected)"));
  EXPECT_THAT(two("0,4", "8,4", 8), HasSubstr("data_offsets [8, 4] do not hold the 4 bytes of F32 [1]"));
  EXPECT_THAT(two("0,4", "4,12", 12), HasSubstr("data_offsets [4, 12] do not hold"));         // test_invalid_info
  EXPECT_THAT(two("0,4", "4,8", 9), HasSubstr("8 bytes of data, the file 9: it is longer"));  // incomplete_buffer
  EXPECT_THAT(two("0,4", "4,8", 7), HasSubstr("8 bytes of data, the file 7: it is cut short"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                      R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                      2),
              HasSubstr(R"(tensor "a": stands twice)"));
}

TEST_F(SafetensorsTest, RefusesSizesThatOverflow) {  // test_validation_overflow
  const auto shape = [&](const std::string& sizes, const std::string& end) {
    return refusal(R"({"a":{"dtype":"F32","shape":[)" + sizes + R"(],"data_offsets":[0,)" + end + "]}}", 4);
  };
  EXPECT_THAT(shape("4294967296,4294967296", "0"), HasSubstr("the size of F32 [4294967296, 4294967296] overflows"));
  EXPECT_THAT(shape("9223372036854775807", "4"), HasSubstr("overflows"));
  EXPECT_THAT(shape("9223372036854775807,2,0", "0"), HasSubstr("overflows"));
  EXPECT_THAT(shape("1152921504606846975", "4611686018427387900"), HasSubstr("overflows"));
  EXPECT_THAT(shape("1000000000000", "4000000000000"), HasSubstr("it is cut short"));  // 4 TB are claimed, not taken
}

TEST_F(SafetensorsTest, SaysThatThereIsNoFile) {
  try {
    SafetensorsReader reader(folder_.path() / "none.safetensors");
    ADD_FAILURE() << "opened";
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kMissingInput);
  }
}

}  // namespace
}  // namespace rondo
