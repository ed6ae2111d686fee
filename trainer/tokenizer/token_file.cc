#include "trainer/tokenizer/token_file.h"

#include <unistd.h>

#include <algorithm>
#include <span>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/log.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {

namespace {

constexpr int64_t kTextsPerBlock = 1 << 16;
constexpr int32_t kNarrowEntries = 1 << 16;  // below this many an id fits 16 bits
constexpr size_t kHashDigits = 16;

/// The offsets of the tokens of all texts, whose tokens go to the file block by block.
std::vector<int64_t> write_tokens(Hdf5Writer& file, const WordPiece& tokenizer, const TokenSource& source,
                                  Progress& progress) {
  const TextsView& texts = source.texts;
  const bool narrow = tokenizer.vocabulary().size() < kNarrowEntries;
  std::vector<int64_t> offsets{0};
  offsets.reserve(texts.offsets.size());
  std::vector<uint16_t> narrowed;
  for (int64_t begin = 0; begin < texts.size(); begin += kTextsPerBlock) {
    const int64_t count = std::min(kTextsPerBlock, texts.size() - begin);
    const TextsView block{texts.bytes,
                          texts.offsets.subspan(static_cast<size_t>(begin), static_cast<size_t>(count) + 1)};
    const TokenizedTexts encoded = tokenizer.encode_batch(block, {.specials = true, .max_tokens = source.max_tokens});
    if (narrow) {
      narrowed.assign(encoded.ids.begin(), encoded.ids.end());
      file.append<uint16_t>("tokens", narrowed);
    } else {
      file.append<int32_t>("tokens", encoded.ids);
    }
    const int64_t before = offsets.back();
    for (size_t i = 1; i < encoded.offsets.size(); ++i) offsets.push_back(before + encoded.offsets[i]);
    progress.advance(begin + count);
  }
  if (texts.size() == 0) file.write<uint16_t>("tokens", {});
  return offsets;
}

void write_file(const std::filesystem::path& path, const WordPiece& tokenizer, const TokenSource& source,
                Progress& progress) {
  Hdf5Writer file(path);
  const std::vector<int64_t> offsets = write_tokens(file, tokenizer, source, progress);
  file.write<int64_t>("offsets", offsets);
  file.set_attribute("tokenizer_hash", tokenizer.hash());
  file.set_attribute("source_digest", source.digest);
  file.set_attribute("max_tokens", source.max_tokens);
  file.close();
}

void check_offsets(const std::vector<int64_t>& offsets, int64_t tokens, const std::filesystem::path& path) {
  if (!offsets.empty() && offsets.front() == 0 && offsets.back() == tokens &&
      std::is_sorted(offsets.begin(), offsets.end())) {
    return;
  }
  throw StorageError(concat(path.string(), ": offsets do not ascend from 0 to the ", tokens, " tokens of the file"));
}

}  // namespace

std::filesystem::path TokenFile::path_in(const std::filesystem::path& folder, const WordPiece& tokenizer) {
  return folder / ("tokens-" + tokenizer.hash().substr(0, kHashDigits) + ".h5");
}

TokenFile TokenFile::open_or_make(const std::filesystem::path& folder, const WordPiece& tokenizer,
                                  const TokenSource& source, FileSystem& files, Progress& progress) {
  const std::filesystem::path path = path_in(folder, tokenizer);
  if (std::filesystem::exists(path)) {
    try {
      TokenFile file = open(path);
      if (file.is_of(tokenizer, source)) return file;
      log_info(concat(path.string(), " is of other texts or another max_tokens: made again"));
    } catch (const StorageError& error) {  // Nothing is lost: all of it is derived.
      log_warning(concat(error.what(), ": made again"));
    }
  }
  const std::filesystem::path beside = path.string() + ".new-" + std::to_string(getpid());
  files.remove(beside);
  progress.begin("tokenize", source.texts.size(), "texts");
  try {
    write_file(beside, tokenizer, source, progress);
    files.rename(beside, path);
  } catch (...) {
    files.remove(beside);
    throw;
  }
  progress.end();
  return open(path);
}

TokenFile TokenFile::open(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    throw DataError(concat(path.string(), ": no such token file"), ExitCode::kMissingInput);
  }
  const Hdf5Reader reader(path);
  TokenFile file;
  if (reader.type("tokens") == Hdf5Type::kUint16) {
    file.narrow_ = reader.read<uint16_t>("tokens");
  } else {
    file.wide_ = reader.read<int32_t>("tokens");
  }
  file.offsets_ = reader.read<int64_t>("offsets");
  check_offsets(file.offsets_, reader.elements("tokens"), path);
  file.tokenizer_hash_ = reader.attribute_text("tokenizer_hash");
  file.source_digest_ = reader.attribute_text("source_digest");
  file.max_tokens_ = reader.attribute_int("max_tokens");
  return file;
}

void TokenFile::append_to(int64_t text, std::vector<int32_t>& ids) const {
  RONDO_CHECK(text >= 0 && text < texts(), "text ", text, " of ", texts());
  const auto begin = static_cast<std::ptrdiff_t>(offsets_[static_cast<size_t>(text)]);
  const auto end = static_cast<std::ptrdiff_t>(offsets_[static_cast<size_t>(text) + 1]);
  if (wide_.empty()) {
    ids.insert(ids.end(), narrow_.begin() + begin, narrow_.begin() + end);
  } else {
    ids.insert(ids.end(), wide_.begin() + begin, wide_.begin() + end);
  }
}

bool TokenFile::is_of(const WordPiece& tokenizer, const TokenSource& source) const {
  return tokenizer_hash_ == tokenizer.hash() && source_digest_ == source.digest && max_tokens_ == source.max_tokens &&
         texts() == source.texts.size();
}

}  // namespace rondo
