#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace rondo {

/// The texts of a file, front to back. One thread.
class TextSource {
 public:
  virtual ~TextSource() = default;

  /// The next `most` texts, fewer at the end. Throws DataError "file:line: ..." for a record that cannot be read: texts
  /// must keep their places.
  virtual std::vector<std::string> next(size_t most) = 0;
};

/// Without a column, each line of the file is a text, an empty one too. With one, it is the column of a CSV, TSV or
/// JSON lines file, by its extension (.csv, .tsv, .jsonl, .json, with or without .gz). gzip is unpacked.
std::unique_ptr<TextSource> open_texts(const std::filesystem::path& path, const std::string& column);

}  // namespace rondo
