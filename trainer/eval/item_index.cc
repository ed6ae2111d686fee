#include "trainer/eval/item_index.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <set>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/data/text_storage.h"
#include "trainer/eval/gather.h"
#include "trainer/eval/index_manifest.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

constexpr size_t kDigestDigits = 64;
constexpr size_t kDigestWords = kDigestDigits / sizeof(int64_t);

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

Range share_of(int64_t items, const Communicator& comm) {
  return {items * comm.rank() / comm.size(), items * (comm.rank() + 1) / comm.size()};
}

TextColumn slice(const TextColumn& texts, Range range) {
  TextColumn part;
  if (texts.offsets.size() == 1) {  // no such column: every text is empty
    part.offsets.assign(static_cast<size_t>(range.size()) + 1, 0);
    return part;
  }
  const int64_t first = texts.offsets[static_cast<size_t>(range.begin)];
  const int64_t last = texts.offsets[static_cast<size_t>(range.end)];
  part.bytes.assign(texts.bytes.begin() + first, texts.bytes.begin() + last);
  part.offsets.clear();
  for (int64_t i = range.begin; i <= range.end; ++i)
    part.offsets.push_back(texts.offsets[static_cast<size_t>(i)] - first);
  return part;
}

bool is_matrix(const at::Tensor& vectors, int64_t rows) {
  return vectors.scalar_type() == at::kFloat && vectors.dim() == 2 && vectors.size(0) == rows;
}

/// Runs `work`, then throws on all ranks if it threw on one.
template <typename Work>
void together(Communicator& comm, std::string_view what, const Work& work) {
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  agree(comm, failure, what);
}

/// Writes this rank's file under a name that tells its content.
IndexPart write_part(FileSystem& files, const std::filesystem::path& folder, int rank, const ItemIndex& index) {
  const auto partial = folder / concat("rank-", rank, kPartialEnding);
  files.remove(partial);
  Hdf5Writer writer(partial);
  writer.write<uint64_t>("keys", index.shard.keys);
  const at::Tensor& vectors = index.shard.vectors;
  writer.write<float>("vectors", {vectors.const_data_ptr<float>(), static_cast<size_t>(vectors.numel())},
                      {vectors.size(0), vectors.size(1)});
  writer.write<float>("histories", {index.histories.const_data_ptr<float>(), static_cast<size_t>(vectors.numel())},
                      {vectors.size(0), vectors.size(1)});
  write_texts("raw_keys", index.raw_keys, writer);
  write_texts("titles", index.titles, writer);
  writer.close(files);
  IndexPart part{"", index.shard.size(), sha256_of_file(partial)};
  part.file = part_name(part.sha256);
  files.rename(partial, folder / part.file);
  return part;
}

/// The parts of all ranks, in rank order.
std::vector<IndexPart> gather_parts(Communicator& comm, const IndexPart& mine) {
  std::array<int64_t, 1 + kDigestWords> words{mine.items};
  std::memcpy(words.data() + 1, mine.sha256.data(), kDigestDigits);
  const auto all = gather_values(comm, std::span<const int64_t>(words), "parts of the item index");
  std::vector<IndexPart> parts;
  for (size_t at = 0; at < all.size(); at += words.size()) {
    IndexPart part{"", all[at], std::string(kDigestDigits, '0')};
    std::memcpy(part.sha256.data(), &all[at + 1], kDigestDigits);
    part.file = part_name(part.sha256);
    parts.push_back(std::move(part));
  }
  return parts;
}

/// Removes files of earlier indexes and of writes that did not end.
void remove_others(FileSystem& files, const std::filesystem::path& folder, const std::vector<IndexPart>& parts) {
  std::set<std::string> kept;
  for (const IndexPart& part : parts) kept.insert(part.file);
  std::vector<std::filesystem::path> others;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(kPartialEnding) || (is_part_name(name) && !kept.contains(name))) others.push_back(entry.path());
  }
  for (const auto& path : others) files.remove(path);
}

/// Texts [range) of a column that has `count`.
TextColumn read_texts_of(const Hdf5Reader& file, const std::string& name, Range range,
                         const std::filesystem::path& path) {
  TextColumn texts;
  texts.offsets.resize(static_cast<size_t>(range.size()) + 1);
  file.read_rows<int64_t>(name + "/offsets", range.begin, range.size() + 1, texts.offsets);
  const int64_t first = texts.offsets.front(), last = texts.offsets.back();
  if (first < 0 || last > file.elements(name + "/bytes") || !std::ranges::is_sorted(texts.offsets)) {
    throw StorageError(concat(path.string(), ": offsets of ", name, " do not ascend within its bytes"));
  }
  texts.bytes.resize(static_cast<size_t>(last - first));
  file.read_rows<uint8_t>(name + "/bytes", first, last - first, texts.bytes);
  for (int64_t& offset : texts.offsets) offset -= first;
  return texts;
}

void append(const TextColumn& from, TextColumn& to) {
  const int64_t before = to.offsets.back();
  to.bytes.insert(to.bytes.end(), from.bytes.begin(), from.bytes.end());
  for (size_t i = 1; i < from.offsets.size(); ++i) to.offsets.push_back(before + from.offsets[i]);
}

/// Reads the rows of `range` (of the part) behind what `index` has of this rank's share.
void read_part(const std::filesystem::path& path, const IndexPart& part, Range range, ItemIndex& index) {
  if (sha256_of_file(path) != part.sha256) {
    throw StorageError(
        concat(path.string(), " is damaged: its SHA-256 is not the one in index.json; make the index again"));
  }
  const Hdf5Reader file(path);
  const int64_t dim = index.shard.vectors.size(1);
  const std::vector<int64_t> shape{part.items, dim};
  if (file.shape("vectors") != shape || file.shape("histories") != shape ||
      file.shape("keys") != std::vector<int64_t>{part.items}) {
    throw StorageError(concat(path.string(), ": expected ", part.items, " vectors of width ", dim));
  }
  const size_t before = index.shard.keys.size(), count = static_cast<size_t>(range.size());
  index.shard.keys.resize(before + count);
  file.read_rows<uint64_t>("keys", range.begin, range.size(), std::span(index.shard.keys).subspan(before));
  const size_t first = before * static_cast<size_t>(dim), values = count * static_cast<size_t>(dim);
  file.read_rows<float>("vectors", range.begin, range.size(),
                        {index.shard.vectors.mutable_data_ptr<float>() + first, values});
  file.read_rows<float>("histories", range.begin, range.size(),
                        {index.histories.mutable_data_ptr<float>() + first, values});
  append(read_texts_of(file, "raw_keys", range, path), index.raw_keys);
  append(read_texts_of(file, "titles", range, path), index.titles);
}

ItemIndex read_share(const std::filesystem::path& folder, const IndexManifest& manifest, Range share) {
  ItemIndex index;
  index.stamp = manifest.stamp;
  index.items = manifest.items;
  index.shard.vectors = at::empty({share.size(), manifest.dim}, at::kFloat);
  index.histories = at::empty({share.size(), manifest.dim}, at::kFloat);
  index.shard.places.resize(static_cast<size_t>(share.size()));
  std::iota(index.shard.places.begin(), index.shard.places.end(), static_cast<int32_t>(share.begin));
  int64_t first = 0;  // place of the part's first item
  for (const IndexPart& part : manifest.parts) {
    const Range range{std::clamp<int64_t>(share.begin - first, 0, part.items),
                      std::clamp<int64_t>(share.end - first, 0, part.items)};
    if (range.size() > 0) read_part(folder / part.file, part, range, index);
    first += part.items;
  }
  return index;
}

}  // namespace

ItemIndex build_item_index(Communicator& comm, const Catalog& catalog, IndexStamp stamp, const EncodeItems& encode,
                           int64_t chunk) {
  RONDO_CHECK_GE(chunk, 1);
  const Range share = share_of(catalog.items(), comm);
  ItemIndex index;
  index.stamp = std::move(stamp);
  index.items = catalog.items();
  index.shard.places.resize(static_cast<size_t>(share.size()));
  std::iota(index.shard.places.begin(), index.shard.places.end(), static_cast<int32_t>(share.begin));
  index.shard.keys.assign(catalog.keys.begin() + share.begin, catalog.keys.begin() + share.end);
  index.raw_keys = slice(catalog.raw_keys, share);
  index.titles = slice(catalog.titles, share);

  const int64_t largest = largest_of(comm, share.size(), "items to encode");
  for (int64_t first = 0; first == 0 || first < largest; first += chunk) {
    const int64_t begin = std::min(first, share.size()), count = std::min(chunk, share.size() - begin);
    const ItemVectors vectors =
        encode(std::span(index.shard.places).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)));
    RONDO_CHECK(is_matrix(vectors.items, count) && is_matrix(vectors.histories, count) &&
                    vectors.items.size(1) == vectors.histories.size(1),
                "item vectors of ", count, " places");
    if (first == 0) {
      index.shard.vectors = at::empty({share.size(), vectors.items.size(1)}, at::kFloat);
      index.histories = at::empty({share.size(), vectors.items.size(1)}, at::kFloat);
    }
    index.shard.vectors.narrow(0, begin, count).copy_(vectors.items.detach());
    index.histories.narrow(0, begin, count).copy_(vectors.histories.detach());
  }
  return index;
}

void write_item_index(Communicator& comm, FileSystem& files, const std::filesystem::path& folder,
                      const ItemIndex& index) {
  IndexPart mine{"", 0, std::string(kDigestDigits, '0')};
  together(comm, "item index", [&] {
    files.make_folder(folder);
    mine = write_part(files, folder, comm.rank(), index);
  });
  const auto parts = gather_parts(comm, mine);
  together(comm, "item index", [&] {
    if (comm.rank() != 0) return;
    write_manifest(files, folder, {index.stamp, index.items, index.shard.vectors.size(1), parts});
    remove_others(files, folder, parts);
  });
}

ItemIndex read_item_index(Communicator& comm, const std::filesystem::path& folder, const IndexStamp& expected) {
  ItemIndex index;
  together(comm, "item index", [&] {
    const IndexManifest manifest = read_manifest(folder);
    check_stamp(manifest.stamp, expected, folder);
    index = read_share(folder, manifest, share_of(manifest.items, comm));
  });
  return index;
}

}  // namespace rondo
