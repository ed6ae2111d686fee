#include "trainer/tokenizer/vocabulary.h"

#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/utf8.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"

namespace rondo {

namespace {

constexpr int64_t kLargestFile = int64_t{256} << 20;

void check_entry(std::string_view entry, const std::string& name, size_t line) {
  if (!is_utf8(entry)) throw DataError(concat(name, ":", line, ": expected UTF-8 text, found other bytes"));
  if (entry.find('\n') != std::string_view::npos || entry.ends_with('\r')) {
    throw DataError(concat(name, ":", line, ": an entry of a vocabulary cannot hold a line end"));
  }
}

}  // namespace

const std::vector<std::string>& Vocabulary::special_tokens() {
  static const std::vector<std::string> kTokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  return kTokens;
}

Vocabulary::Vocabulary(std::vector<std::string> entries, const std::string& name) : entries_(std::move(entries)) {
  ids_.reserve(entries_.size());
  for (size_t id = 0; id < entries_.size(); ++id) {
    check_entry(entries_[id], name, id + 1);
    ids_.insert_or_assign(entries_[id], static_cast<int32_t>(id));
  }
  const auto required = [&](const std::string& token) {
    const int32_t id = find(token);
    if (id < 0) {
      throw DataError(concat(name, ": a WordPiece vocabulary needs ", token, "; not found among ", entries_.size(),
                             " entries (one entry a line expected)"));
    }
    return id;
  };
  unknown_ = required("[UNK]");
  cls_ = required("[CLS]");
  sep_ = required("[SEP]");
  hash_ = sha256_hex(text());
}

Vocabulary Vocabulary::parse(std::string_view text, const std::string& name) {
  std::vector<std::string> entries;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    while (line.ends_with('\r')) line.remove_suffix(1);
    entries.emplace_back(line);
  }
  return Vocabulary(std::move(entries), name);
}

Vocabulary Vocabulary::read(const std::filesystem::path& path) {
  return parse(read_file(path, kLargestFile), path.string());
}

std::string Vocabulary::text() const {
  std::string text;
  for (const std::string& entry : entries_) {
    text += entry;
    text += '\n';
  }
  return text;
}

int32_t Vocabulary::find(const std::string& entry) const {
  const auto found = ids_.find(entry);
  return found == ids_.end() ? -1 : found->second;
}

WordRules::SpecialTokens Vocabulary::special_ids() const {
  WordRules::SpecialTokens present;
  for (const std::string& token : special_tokens()) {
    if (find(token) >= 0) present.emplace_back(token, find(token));
  }
  return present;
}

}  // namespace rondo
