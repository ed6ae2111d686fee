#include "trainer/storage/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/utf8.h"

namespace rondo {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;
constexpr size_t kAlignment = 8;
constexpr char kMetadata[] = "__metadata__";

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and read as it stands");

struct TypeInfo {
  std::string_view name;
  int64_t bits;
};

constexpr std::array<TypeInfo, 20> kTypes = {
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},    {"F8_E5M2", 8},
     {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16}, {"BF16", 16}, {"I32", 32},
     {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},    {"I64", 64}, {"U64", 64}}};

const TypeInfo& info(SafetensorsType type) { return kTypes[static_cast<size_t>(type)]; }

/// A name as messages show it.
std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 100;
  std::string shown = "\"";
  for (const char c : name.substr(0, kLongest)) shown += static_cast<unsigned char>(c) < 32 ? '?' : c;
  return shown + (name.size() > kLongest ? "...\"" : "\"");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += concat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

/// Bits of so many elements; -1 if 64 bits cannot count them.
int64_t bits_of(SafetensorsType type, const std::vector<int64_t>& shape) {
  int64_t bits = 1;
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bits, size, &bits)) return -1;
  }
  return __builtin_mul_overflow(bits, info(type).bits, &bits) ? -1 : bits;
}

/// Takes the header as the parser meets it; no tree is built. A method that returns false has set `reason`.
class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(SafetensorsHeader& header) : header_(header) {}

  std::string reason;

  bool null() override { return refuse_value(); }
  bool boolean(bool) override { return refuse_value(); }
  bool number_integer(number_integer_t) override { return refuse_value(); }
  bool number_float(number_float_t, const string_t&) override { return refuse_value(); }
  bool binary(binary_t&) override { return refuse_value(); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kNumbers) return refuse_value();
    if (value > INT64_MAX) return fail(concat(member_, ": ", value, " is too large"));
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) return header_.metadata.emplace(member_, text).second || fail_twice(member_);
    if (place_ != Place::kTensor || member_ != "dtype") return refuse_value();
    const auto* found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& t) { return t.name == text; });
    if (found == kTypes.end()) return fail("dtype " + in_quotes(text) + " is not known");
    tensor().type = static_cast<SafetensorsType>(found - kTypes.begin());
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kHeader;
    } else if (place_ == Place::kHeader) {
      place_ = name_ == kMetadata ? Place::kMetadata : Place::kTensor;
      members_.clear();
      if (place_ == Place::kTensor) header_.tensors.push_back({.name = name_, .shape = {}});
    } else {
      return refuse_value();
    }
    return true;
  }

  bool key(string_t& name) override {
    if (place_ == Place::kHeader) {
      name_ = name;
      return names_.insert(name).second || fail("stands twice");
    }
    member_ = name;
    if (place_ == Place::kMetadata) return true;
    if (name != "dtype" && name != "shape" && name != "data_offsets") return fail("unknown member " + in_quotes(name));
    return members_.insert(name).second || fail_twice(name);
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      for (const char* needed : {"dtype", "shape", "data_offsets"}) {
        if (!members_.contains(needed)) return fail(concat(needed, " is missing"));
      }
    }
    name_.clear();
    place_ = place_ == Place::kHeader ? Place::kOutside : Place::kHeader;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || member_ == "dtype") return refuse_value();
    place_ = Place::kNumbers;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    if (member_ == "shape") {
      tensor().shape = std::move(numbers_);
      return true;
    }
    if (numbers_.size() != 2) return fail(concat("data_offsets: 2 numbers expected, found ", numbers_.size()));
    tensor().begin = numbers_[0];
    tensor().end = numbers_[1];
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    if (reason.empty()) reason = concat("the header is not JSON (at its byte ", position, ")");
    return false;
  }

 private:
  enum class Place : uint8_t { kOutside, kHeader, kMetadata, kTensor, kNumbers };

  SafetensorsEntry& tensor() { return header_.tensors.back(); }

  bool fail(const std::string& what) {
    reason = name_.empty() ? what : concat("tensor ", in_quotes(name_), ": ", what);
    return false;
  }
  bool fail_twice(const std::string& member) { return fail("member " + in_quotes(member) + " stands twice"); }

  bool refuse_value() {
    switch (place_) {
      case Place::kOutside:
        return fail("the header is not a JSON object");
      case Place::kHeader:
        return fail("an object with dtype, shape and data_offsets expected");
      case Place::kMetadata:
        return fail("text expected for " + in_quotes(member_));
      default:
        return fail(member_ == "dtype" ? "dtype: text expected" : member_ + ": whole numbers from 0 expected");
    }
  }

  SafetensorsHeader& header_;
  Place place_ = Place::kOutside;
  std::string name_;    // of the tensor that is read
  std::string member_;  // of it, or of the metadata
  std::set<std::string> names_;
  std::set<std::string> members_;
  std::vector<int64_t> numbers_;
};

[[noreturn]] void refuse(const std::string& file, const std::string& reason) {
  throw DataError(concat(file, ": ", reason, "; a safetensors file expected"));
}

/// Each tensor's bytes fit its shape, and together they cover the data exactly.
void check_places(const std::vector<SafetensorsEntry>& tensors, int64_t data_bytes, const std::string& file) {
  int64_t covered = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    const auto fail = [&](const auto&... what) {
      refuse(file, concat("tensor ", in_quotes(tensor.name), ": ", what...));
    };
    const std::string kind = concat(name_of(tensor.type), " ", shape_text(tensor.shape));
    const int64_t bits = bits_of(tensor.type, tensor.shape);
    if (bits < 0) fail("the size of ", kind, " overflows");
    if (bits % 8 != 0) fail(kind, " does not fill whole bytes");
    if (tensor.end < tensor.begin || tensor.bytes() != bits / 8) {
      fail("data_offsets [", tensor.begin, ", ", tensor.end, "] do not hold the ", bits / 8, " bytes of ", kind);
    }
    if (tensor.begin != covered) {
      fail("begins at byte ", tensor.begin, " of the data, ", covered, " expected: tensors ",
           tensor.begin < covered ? "overlap" : "leave a hole");
    }
    covered = tensor.end;
  }
  if (covered != data_bytes) {
    refuse(file, concat("the tensors have ", covered, " bytes of data, the file ", data_bytes, ": it is ",
                        covered > data_bytes ? "cut short" : "longer than its header says"));
  }
}

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

std::string_view name_of(SafetensorsType type) { return info(type).name; }

SafetensorsHeader parse_safetensors_header(std::string_view text, int64_t data_bytes, const std::string& file) {
  if (!is_utf8(text)) refuse(file, "the header is not UTF-8");
  const size_t first = text.find_first_not_of(" \t\n\r");
  // A NUL would end the text for the parser, a byte order mark be skipped.
  if (first == std::string_view::npos || text[first] != '{' || text.find('\0') != std::string_view::npos) {
    refuse(file, "the header is not a JSON object");
  }
  SafetensorsHeader header;
  HeaderHandler handler(header);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &handler)) refuse(file, handler.reason);
  std::sort(header.tensors.begin(), header.tensors.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_places(header.tensors, data_bytes, file);
  return header;
}

struct SafetensorsReader::Impl {
  std::filesystem::path path;
  std::unique_ptr<std::FILE, FileCloser> file;
  SafetensorsHeader header;
  int64_t data_start = 0;
  std::map<std::string_view, const SafetensorsEntry*> by_name;

  void read_at(int64_t position, void* out, size_t size) const {
    if (fseeko(file.get(), position, SEEK_SET) != 0 || std::fread(out, 1, size, file.get()) != size) {
      throw StorageError(concat("cannot read ", size, " bytes at ", position, " of ", path.string(), ": ",
                                std::ferror(file.get()) != 0 ? std::strerror(errno) : "the file became shorter"));
    }
  }
};

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->file.reset(std::fopen(path.c_str(), "rb"));
  if (!impl_->file && errno == ENOENT) {
    throw DataError(concat("no such file: ", path.string()), ExitCode::kMissingInput);
  }
  if (!impl_->file) throw StorageError(concat("cannot read ", path.string(), ": ", std::strerror(errno)));
  std::error_code error;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) throw StorageError(concat("cannot read the size of ", path.string(), ": ", error.message()));
  if (size < kLengthBytes) refuse(path.string(), concat(size, " bytes are too few for the header's length (8 bytes)"));
  uint64_t length = 0;
  impl_->read_at(0, &length, sizeof length);
  if (length > kLongestHeader) {
    refuse(path.string(), concat("a header of ", length, " bytes is announced, at most ", kLongestHeader, " expected"));
  }
  impl_->data_start = kLengthBytes + static_cast<int64_t>(length);
  if (impl_->data_start > size) {
    refuse(path.string(), concat("a header of ", length, " bytes is announced, the file has ", size, " bytes"));
  }
  std::string text(length, '\0');
  impl_->read_at(kLengthBytes, text.data(), text.size());
  impl_->header = parse_safetensors_header(text, size - impl_->data_start, path.string());
  for (const SafetensorsEntry& tensor : impl_->header.tensors) impl_->by_name[tensor.name] = &tensor;
}

SafetensorsReader::~SafetensorsReader() = default;
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;

const std::filesystem::path& SafetensorsReader::path() const { return impl_->path; }
const std::vector<SafetensorsEntry>& SafetensorsReader::tensors() const { return impl_->header.tensors; }
const std::map<std::string, std::string>& SafetensorsReader::metadata() const { return impl_->header.metadata; }

const SafetensorsEntry* SafetensorsReader::find(std::string_view name) const {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : found->second;
}

void SafetensorsReader::read(const SafetensorsEntry& entry, std::span<std::byte> out) const {
  RONDO_CHECK_EQ(static_cast<int64_t>(out.size()), entry.bytes(), "bytes of tensor ", entry.name);
  if (!out.empty()) impl_->read_at(impl_->data_start + entry.begin, out.data(), out.size());
}

std::string safetensors_bytes(std::vector<SafetensorsTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return info(a.type).bits != info(b.type).bits ? info(a.type).bits > info(b.type).bits : a.name < b.name;
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  int64_t end = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    RONDO_CHECK(!header.contains(tensor.name) && is_utf8(tensor.name), "tensor ", in_quotes(tensor.name));
    RONDO_CHECK_EQ(static_cast<int64_t>(tensor.bytes.size()) * 8, bits_of(tensor.type, tensor.shape), "bits of tensor ",
                   tensor.name);
    const int64_t begin = std::exchange(end, end + static_cast<int64_t>(tensor.bytes.size()));
    header[tensor.name] = {{"dtype", name_of(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const auto length = static_cast<uint64_t>(text.size());
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes.reserve(bytes.size() + text.size() + static_cast<size_t>(end));
  bytes += text;
  for (const SafetensorsTensor& tensor : tensors) bytes += tensor.bytes;
  return bytes;
}

}  // namespace rondo
