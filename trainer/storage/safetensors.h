#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rondo {

/// Element types of a safetensors file; `name_of` gives what the file calls them.
enum class SafetensorsType : uint8_t {
  kBool,
  kFloat4,
  kFloat6E2M3,
  kFloat6E3M2,
  kUint8,
  kInt8,
  kFloat8E5M2,
  kFloat8E4M3,
  kFloat8E8M0,
  kInt16,
  kUint16,
  kFloat16,
  kBFloat16,
  kInt32,
  kUint32,
  kFloat32,
  kComplex64,
  kFloat64,
  kInt64,
  kUint64,
};

std::string_view name_of(SafetensorsType type);  // "F32"

/// One tensor of a file: row-major, little-endian, bytes [begin, end) of the data that follow the header.
struct SafetensorsEntry {
  std::string name;
  SafetensorsType type = SafetensorsType::kFloat32;
  std::vector<int64_t> shape;
  int64_t begin = 0;
  int64_t end = 0;

  int64_t bytes() const { return end - begin; }
};

/// What a file says of its data.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;        // by place in the data, which they cover without gap or overlap
  std::map<std::string, std::string> metadata;  // "__metadata__"
};

/// Reads the JSON of a header; `data_bytes` follow it in the file. Throws DataError naming `file`, the tensor and the
/// reason for what the format forbids: text that is no JSON object or not UTF-8, a name that stands twice, an unknown
/// type or member, sizes that overflow or do not fit the shape, offsets that leave holes, overlap, or end elsewhere
/// than the data. Memory is bounded by the text: nothing that a header claims is allocated.
SafetensorsHeader parse_safetensors_header(std::string_view text, int64_t data_bytes, const std::string& file);

/// A safetensors file to read (the format of Hugging Face's `safetensors`). One thread.
class SafetensorsReader {
 public:
  /// Reads and checks the header, no data. Throws DataError (kMissingInput if there is no such file) as
  /// `parse_safetensors_header`, and for a header that is longer than 100 MB or than the file.
  explicit SafetensorsReader(const std::filesystem::path& path);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  const std::filesystem::path& path() const;
  const std::vector<SafetensorsEntry>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;

  /// nullptr if absent.
  const SafetensorsEntry* find(std::string_view name) const;

  /// The tensor's bytes as they stand in the file. REQUIRES: an entry of this file, out.size() == entry.bytes().
  /// Throws StorageError if the file cannot be read.
  void read(const SafetensorsEntry& entry, std::span<std::byte> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A tensor to write; `bytes` are row-major, little-endian.
struct SafetensorsTensor {
  std::string name;
  SafetensorsType type = SafetensorsType::kFloat32;
  std::vector<int64_t> shape;
  std::string_view bytes;
};

/// The content of a file: the larger elements first, then by name, as Hugging Face's writer orders them; the header
/// padded with blanks to a multiple of 8. REQUIRES: distinct names in UTF-8, as many bytes as the shape needs.
std::string safetensors_bytes(std::vector<SafetensorsTensor> tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace rondo
