#include "launch/text_source.h"

#include <array>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/data/byte_source.h"
#include "trainer/data/record_reader.h"

namespace rondo {
namespace {

class LineSource final : public TextSource {
 public:
  explicit LineSource(const std::filesystem::path& path) : source_(path), block_(1 << 18) {}

  std::vector<std::string> next(size_t most) override {
    std::vector<std::string> texts;
    std::string line;
    while (texts.size() < most && read_line(line)) texts.push_back(std::move(line));
    return texts;
  }

 private:
  bool read_line(std::string& line) {
    line.clear();
    bool any = false;
    while (begin_ < end_ || fill()) {
      any = true;
      const std::string_view rest(block_.data() + begin_, end_ - begin_);
      const size_t length = rest.find('\n');
      line += rest.substr(0, length);
      begin_ += length == std::string_view::npos ? rest.size() : length + 1;
      if (length != std::string_view::npos) break;
    }
    if (line.ends_with('\r')) line.pop_back();
    return any;
  }

  bool fill() {
    begin_ = 0;
    end_ = source_.read(block_);
    return end_ > 0;
  }

  ByteSource source_;
  std::vector<char> block_;
  size_t begin_ = 0, end_ = 0;
};

class ColumnSource final : public TextSource {
 public:
  ColumnSource(const std::filesystem::path& path, const FileOptions& options, const std::string& column)
      : path_(path), reader_(open_records(path, options, {column})) {}

  std::vector<std::string> next(size_t most) override {
    std::vector<std::string> texts;
    SourceRecord record;
    while (texts.size() < most && reader_->next(record)) {
      if (!record.reason.empty()) throw DataError(concat(path_.string(), ":", record.line, ": ", record.reason));
      texts.emplace_back(record.fields[0]);
    }
    return texts;
  }

 private:
  std::filesystem::path path_;
  std::unique_ptr<RecordReader> reader_;
};

}  // namespace

std::unique_ptr<TextSource> open_texts(const std::filesystem::path& path, const std::string& column) {
  if (column.empty()) return std::make_unique<LineSource>(path);
  const auto kind = path.extension() == ".gz" ? path.stem().extension() : path.extension();
  FileOptions options;
  if (kind == ".tsv") {
    options.delimiter = '\t';
    options.quoted = false;
  } else if (kind == ".jsonl" || kind == ".json") {
    options.kind = FileKind::kJsonLines;
  } else if (kind != ".csv") {
    throw ConfigError(concat("--column: the name of ", path.string(), " must end with .csv, .tsv, .jsonl or .json"),
                      ExitCode::kUsage);
  }
  return std::make_unique<ColumnSource>(path, options, column);
}

}  // namespace rondo
