#include "trainer/data/text_storage.h"

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {

void check_offsets(const std::vector<int64_t>& offsets, int64_t size, const std::string& name,
                   const std::filesystem::path& path) {
  const bool sound = !offsets.empty() && offsets.front() == 0 && offsets.back() == size &&
                     std::is_sorted(offsets.begin(), offsets.end());
  if (!sound) throw StorageError(concat(path.string(), ": ", name, " does not ascend from 0 to ", size));
}

void write_texts(const std::string& name, const TextColumn& texts, Hdf5Writer& file) {
  file.write<uint8_t>(name + "/bytes", texts.bytes);
  file.write<int64_t>(name + "/offsets", texts.offsets);
}

TextColumn read_texts(const std::string& name, const Hdf5Reader& file, const std::filesystem::path& path) {
  TextColumn texts;
  texts.bytes = file.read<uint8_t>(name + "/bytes");
  texts.offsets = file.read<int64_t>(name + "/offsets");
  check_offsets(texts.offsets, static_cast<int64_t>(texts.bytes.size()), name + "/offsets", path);
  return texts;
}

}  // namespace rondo
