#include "trainer/data/catalog.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/data/text_storage.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

constexpr char kBagPrefix[] = "features/";

}  // namespace

void Catalog::save(const std::filesystem::path& path) const {
  Hdf5Writer file(path);
  file.write<uint64_t>("items/keys", keys);
  write_texts("items/raw_keys", raw_keys, file);
  write_texts("items/titles", titles, file);
  write_texts("items/texts", texts, file);
  for (const BagColumn& bag : bags) {
    file.write<int64_t>(kBagPrefix + bag.name + "/offsets", bag.offsets);
    file.write<uint64_t>(kBagPrefix + bag.name + "/keys", bag.keys);
  }
  file.set_attribute("items", items());
  file.close();
}

Catalog Catalog::open(const std::filesystem::path& dataset_folder) {
  const auto path = dataset_folder / "catalog.h5";
  if (!std::filesystem::exists(path)) {
    throw DataError(
        concat("no dataset in ", dataset_folder.string(), ": there is no catalog.h5 (rondo ingest makes one)"),
        ExitCode::kMissingInput);
  }
  Catalog catalog;
  catalog.digest = sha256_of_file(path);
  const Hdf5Reader file(path);
  catalog.keys = file.read<uint64_t>("items/keys");
  catalog.raw_keys = read_texts("items/raw_keys", file, path);
  catalog.titles = read_texts("items/titles", file, path);
  catalog.texts = read_texts("items/texts", file, path);
  const size_t entries = catalog.keys.size() + 1;
  for (const TextColumn* column : {&catalog.raw_keys, &catalog.titles, &catalog.texts}) {
    if (column->offsets.size() != entries) throw StorageError(path.string() + ": columns of different lengths");
  }
  for (const std::string& name : file.datasets()) {
    constexpr std::string_view kEnd = "/offsets";
    if (!name.starts_with(kBagPrefix) || !name.ends_with(kEnd)) continue;
    const std::string feature = name.substr(sizeof(kBagPrefix) - 1, name.size() - sizeof(kBagPrefix) + 1 - kEnd.size());
    BagColumn bag{feature, file.read<int64_t>(name), file.read<uint64_t>(kBagPrefix + feature + "/keys")};
    check_offsets(bag.offsets, static_cast<int64_t>(bag.keys.size()), name, path);
    if (bag.offsets.size() != entries) throw StorageError(path.string() + ": columns of different lengths");
    catalog.bags.push_back(std::move(bag));
  }
  catalog.build_index();
  return catalog;
}

int64_t Catalog::find(uint64_t key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? -1 : found->second;
}

void Catalog::build_index() {
  places_.clear();
  places_.reserve(keys.size());
  for (size_t place = 0; place < keys.size(); ++place) places_.emplace(keys[place], static_cast<int64_t>(place));
  RONDO_CHECK_EQ(places_.size(), keys.size(), "two items of the catalogue have one key");
}

}  // namespace rondo
