// Entry point in the form of libFuzzer for the reader of safetensors. An input is a header after a first byte that says
// how many bytes of data follow it; every fourth goes through a file as a whole. tests/support/fuzz_main.cc drives it
// where there is no libFuzzer.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/safetensors.h"

namespace {

using rondo::SafetensorsEntry;
using rondo::SafetensorsHeader;
using rondo::SafetensorsReader;
using rondo::SafetensorsTensor;

[[noreturn]] void fail() { std::abort(); }

/// What holds of a header that was accepted.
void check(const SafetensorsHeader& header, int64_t data_bytes) {
  int64_t covered = 0;
  std::vector<SafetensorsTensor> tensors;
  const std::string data(static_cast<size_t>(data_bytes), 'x');
  for (const SafetensorsEntry& tensor : header.tensors) {
    if (tensor.begin != covered || tensor.end < tensor.begin) fail();
    covered = tensor.end;
    tensors.push_back(
        {tensor.name, tensor.type, tensor.shape,
         std::string_view(data).substr(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.bytes()))});
  }
  if (covered != data_bytes) fail();
  const std::string again = rondo::safetensors_bytes(std::move(tensors), header.metadata);
  const size_t header_end = again.size() - data.size();
  const auto same = rondo::parse_safetensors_header(std::string_view(again).substr(8, header_end - 8), data_bytes, "x");
  if (same.tensors.size() != header.tensors.size() || same.metadata != header.metadata) fail();
}

void fuzz_header(std::string_view text, int64_t data_bytes) {
  try {
    check(rondo::parse_safetensors_header(text, data_bytes, "fuzz"), data_bytes);
  } catch (const rondo::DataError&) {
  }
}

/// The whole file, its length as well; a first byte of 0 makes the length right.
void fuzz_file(std::string_view bytes, bool right_length) {
  static const rondo::testing::ScratchFolder kFolder;
  const auto path = kFolder.path() / "fuzz.safetensors";
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (right_length) {
    const uint64_t length = bytes.size() - bytes.size() / 8;
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
  }
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  try {
    const SafetensorsReader reader(path);
    for (const SafetensorsEntry& tensor : reader.tensors()) {
      std::vector<std::byte> values(static_cast<size_t>(tensor.bytes()));
      reader.read(tensor, values);
    }
  } catch (const rondo::DataError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] >= 192) {
    fuzz_file(text, data[0] < 224);
  } else {
    fuzz_header(text, data[0] % 64);
  }
  return 0;
}

extern "C" const char* const kFuzzSeeds[] = {
    "\x08{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
    "\x0C{\"b\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]},\"c\":{\"shape\":[],\"dtype\":\"I32\","
    "\"data_offsets\":[8,12]},\"__metadata__\":{\"format\":\"pt\",\"\u00E9\":\"\\u0041\"}}",
    "\x40{ }",
    "\x04{\"\":{\"dtype\":\"U8\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]},\"d\":{\"dtype\":\"BF16\","
    "\"shape\":[2],\"data_offsets\":[0,4]}}   ",
    "\xC0{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}12345678",
    "\xE0\x38\x01\x01{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  12345678",
    nullptr,
};
