#include "trainer/eval/index_manifest.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFormat = 1;
constexpr std::string_view kPartPrefix = "items-";
constexpr std::string_view kPartEnding = ".h5";
constexpr size_t kDigitsInName = 16;
constexpr int64_t kLongestManifest = 64 << 20;

std::filesystem::path manifest_path(const std::filesystem::path& folder) { return folder / kIndexManifestFile; }

int64_t count_of(const Json& json, const char* field) {
  const auto value = json.at(field).get<int64_t>();
  if (!json.at(field).is_number_integer() || value < 0 || value > std::numeric_limits<int32_t>::max()) {
    throw std::out_of_range(concat(field, " is ", json.at(field).dump()));
  }
  return value;
}

IndexManifest from_json(const Json& json) {
  if (const auto format = count_of(json, "format"); format != kFormat) {
    throw std::out_of_range(concat("format is ", format, ", this rondo reads ", kFormat));
  }
  IndexManifest manifest;
  manifest.stamp = {json.at("tower").get<std::string>(), json.at("tokenizer").get<std::string>(),
                    json.at("catalogue").get<std::string>()};
  manifest.items = count_of(json, "items");
  manifest.dim = count_of(json, "dim");
  int64_t items = 0;
  for (const Json& part : json.at("parts")) {
    const auto sha256 = part.at("sha256").get<std::string>();
    if (sha256.size() != 64 || sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
      throw std::out_of_range("a sha256 is not 64 hexadecimal digits");
    }
    manifest.parts.push_back({part_name(sha256), count_of(part, "items"), sha256});
    items += manifest.parts.back().items;
  }
  if (items != manifest.items) throw std::out_of_range(concat("parts have ", items, " items of ", manifest.items));
  return manifest;
}

void check_digest(const std::string& found, const std::string& expected, const char* of,
                  const std::filesystem::path& folder) {
  if (expected.empty() || found == expected) return;
  throw ConfigError(concat("the item index in ", folder.string(), " is stale: it was made from another ", of, " (",
                           found.substr(0, 12), ", expected ", expected.substr(0, 12),
                           "); rondo evaluate makes it again"));
}

}  // namespace

std::string part_name(std::string_view sha256) {
  return concat(kPartPrefix, sha256.substr(0, kDigitsInName), kPartEnding);
}

bool is_part_name(std::string_view name) {
  return name.size() == kPartPrefix.size() + kDigitsInName + kPartEnding.size() && name.starts_with(kPartPrefix) &&
         name.ends_with(kPartEnding);
}

void write_manifest(FileSystem& files, const std::filesystem::path& folder, const IndexManifest& manifest) {
  Json json{{"format", kFormat},
            {"items", manifest.items},
            {"dim", manifest.dim},
            {"tower", manifest.stamp.tower},
            {"tokenizer", manifest.stamp.tokenizer},
            {"catalogue", manifest.stamp.catalogue},
            {"parts", Json::array()}};
  for (const IndexPart& part : manifest.parts) {
    json["parts"].push_back({{"file", part.file}, {"items", part.items}, {"sha256", part.sha256}});
  }
  files.replace_file(manifest_path(folder), json.dump(2) + "\n");
}

IndexManifest read_manifest(const std::filesystem::path& folder) {
  const auto path = manifest_path(folder);
  if (!std::filesystem::exists(path)) {
    throw DataError(concat("no item index in ", folder.string(), ": there is no index.json (rondo evaluate makes one)"),
                    ExitCode::kMissingInput);
  }
  const std::string text = read_file(path, kLongestManifest);
  try {
    return from_json(Json::parse(text));
  } catch (const std::exception& error) {
    throw StorageError(concat(path.string(), " is not the index.json of an item index: ", error.what()));
  }
}

void check_stamp(const IndexStamp& found, const IndexStamp& expected, const std::filesystem::path& folder) {
  check_digest(found.tower, expected.tower, "tower", folder);
  check_digest(found.tokenizer, expected.tokenizer, "tokenizer", folder);
  check_digest(found.catalogue, expected.catalogue, "catalogue", folder);
}

}  // namespace rondo
