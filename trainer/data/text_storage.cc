#include "trainer/data/text_storage.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/data/dataset_files.h"

namespace rondo {

void check_length(size_t actual, size_t expected, const std::string& name, const std::filesystem::path& path) {
  if (actual == expected) return;
  throw StorageError(concat(path.string(), ": ", name, " has ", actual, " elements, expected ", expected));
}

void check_offsets(const std::vector<int64_t>& offsets, OffsetsShape shape, const std::string& name,
                   const std::filesystem::path& path) {
  check_length(offsets.size(), static_cast<size_t>(shape.entries) + 1, name, path);
  if (offsets.front() != 0 || offsets.back() != shape.size || !std::is_sorted(offsets.begin(), offsets.end())) {
    throw StorageError(concat(path.string(), ": ", name, " does not ascend from 0 to ", shape.size));
  }
}

void check_format(const Hdf5Reader& file, const std::filesystem::path& path) {
  const int64_t version = file.attribute_int("format_version");
  if (version == kDatasetFormatVersion) return;
  throw StorageError(concat(path.string(), ": format version ", version, ", this build reads ", kDatasetFormatVersion,
                            "; ingest the source again"));
}

void write_texts(const std::string& name, const TextColumn& texts, Hdf5Writer& file) {
  file.write<uint8_t>(name + "/bytes", texts.bytes);
  file.write<int64_t>(name + "/offsets", texts.offsets);
}

TextColumn read_texts(const std::string& name, const Hdf5Reader& file, const std::filesystem::path& path) {
  TextColumn texts;
  texts.bytes = file.read<uint8_t>(name + "/bytes");
  texts.offsets = file.read<int64_t>(name + "/offsets");
  const auto entries = static_cast<int64_t>(texts.offsets.size()) - 1;
  if (entries < 0) throw StorageError(concat(path.string(), ": ", name, "/offsets is empty"));
  check_offsets(texts.offsets, {entries, static_cast<int64_t>(texts.bytes.size())}, name + "/offsets", path);
  return texts;
}

}  // namespace rondo
