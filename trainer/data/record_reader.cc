#include "trainer/data/record_reader.h"

#include "trainer/data/delimited_reader.h"
#include "trainer/data/json_lines_reader.h"

namespace rondo {

std::unique_ptr<RecordReader> open_records(const std::filesystem::path& path, const FileOptions& options,
                                           const std::vector<std::string>& columns, const SourceLimits& limits) {
  if (options.kind == FileKind::kJsonLines) return std::make_unique<JsonLinesReader>(path, options, columns, limits);
  return std::make_unique<DelimitedReader>(path, options, columns, limits);
}

}  // namespace rondo
