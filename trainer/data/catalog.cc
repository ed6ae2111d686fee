#include "trainer/data/catalog.h"

#include "sharding/base/check.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/text_storage.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

std::string feature_path(size_t index) { return concat("features/", index); }

void write_feature(const BagColumn& bag, const std::string& name, Hdf5Writer& file) {
  file.write<int64_t>(name + "/offsets", bag.offsets);
  file.write<uint64_t>(name + "/keys", bag.keys);
  file.write<uint64_t>(name + "/value_keys", bag.value_keys);
  write_texts(name + "/values", bag.values, file);
}

BagColumn read_feature(const std::string& name, int64_t items, const Hdf5Reader& file,
                       const std::filesystem::path& path) {
  BagColumn bag;
  bag.offsets = file.read<int64_t>(name + "/offsets");
  bag.keys = file.read<uint64_t>(name + "/keys");
  bag.value_keys = file.read<uint64_t>(name + "/value_keys");
  bag.values = read_texts(name + "/values", file, path);
  check_offsets(bag.offsets, {items, static_cast<int64_t>(bag.keys.size())}, name + "/offsets", path);
  check_length(bag.values.offsets.size(), bag.value_keys.size() + 1, name + "/values/offsets", path);
  return bag;
}

}  // namespace

void append_text(std::string_view text, TextColumn& column) {
  column.bytes.insert(column.bytes.end(), text.begin(), text.end());
  column.offsets.push_back(static_cast<int64_t>(column.bytes.size()));
}

void Catalog::save(const std::filesystem::path& path) const {
  Hdf5Writer file(path);
  file.set_attribute("format_version", kDatasetFormatVersion);
  file.write<uint64_t>("items/keys", keys);
  write_texts("items/raw_keys", raw_keys, file);
  write_texts("items/titles", titles, file);
  write_texts("items/texts", texts, file);
  TextColumn names;
  for (size_t i = 0; i < bags.size(); ++i) {
    append_text(bags[i].name, names);
    write_feature(bags[i], feature_path(i), file);
  }
  write_texts("features/names", names, file);
  file.close();
}

Catalog Catalog::open(const std::filesystem::path& dataset_folder) {
  const auto path = dataset_folder / kCatalogFile;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    throw DataError(concat("no dataset in ", dataset_folder.string(), ": there is no ", kCatalogFile,
                           " (`rondo ingest` makes one)"),
                    ExitCode::kMissingInput);
  }
  Catalog catalog;
  catalog.digest = sha256_of_file(path);
  const Hdf5Reader file(path);
  check_format(file, path);
  catalog.keys = file.read<uint64_t>("items/keys");
  catalog.raw_keys = read_texts("items/raw_keys", file, path);
  catalog.titles = read_texts("items/titles", file, path);
  catalog.texts = read_texts("items/texts", file, path);
  check_length(catalog.raw_keys.offsets.size(), catalog.keys.size() + 1, "items/raw_keys/offsets", path);
  check_length(catalog.titles.offsets.size(), catalog.keys.size() + 1, "items/titles/offsets", path);
  check_length(catalog.texts.offsets.size(), catalog.keys.size() + 1, "items/texts/offsets", path);
  const TextColumn names = read_texts("features/names", file, path);
  for (size_t i = 0; i + 1 < names.offsets.size(); ++i) {
    catalog.bags.push_back(read_feature(feature_path(i), catalog.items(), file, path));
    catalog.bags.back().name = names.at(static_cast<int64_t>(i));
  }
  catalog.build_index();
  return catalog;
}

void Catalog::build_index() {
  places_ = {};
  for (const uint64_t key : keys) {
    if (!places_.insert(key).second) throw DataError(concat("two items of the catalogue have the row key ", key));
  }
}

}  // namespace rondo
