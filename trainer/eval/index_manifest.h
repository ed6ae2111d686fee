#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/eval/item_index.h"
#include "trainer/storage/file_system.h"

namespace rondo {

/// A file of an item index: what one rank wrote.
struct IndexPart {
  std::string file;  // part_name(sha256)
  int64_t items = 0;
  std::string sha256;  // of the file
};

/// index.json: the commit point of an index, and what is in it.
struct IndexManifest {
  IndexStamp stamp;
  int64_t items = 0;
  int64_t dim = 0;
  std::vector<IndexPart> parts;  // in order of places
};

inline constexpr char kIndexManifestFile[] = "index.json";

/// Files that are being written end so.
inline constexpr std::string_view kPartialEnding = ".partial";

/// "items-<first 16 digits>.h5".
std::string part_name(std::string_view sha256);
bool is_part_name(std::string_view name);

void write_manifest(FileSystem& files, const std::filesystem::path& folder, const IndexManifest& manifest);

/// Throws DataError (kMissingInput) if there is none, StorageError if it is not one.
IndexManifest read_manifest(const std::filesystem::path& folder);

/// Throws ConfigError saying what differs. Empty digests in `expected` are not compared.
void check_stamp(const IndexStamp& found, const IndexStamp& expected, const std::filesystem::path& folder);

}  // namespace rondo
