#include "trainer/data/source_files.h"

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// Records between two looks at the progress and at the fraction of rejected rows.
constexpr int64_t kReportRows = 1 << 14;

int64_t total_bytes(const std::vector<std::string>& paths) {
  int64_t total = 0;
  for (const auto& path : paths) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (!error) total += static_cast<int64_t>(size);
  }
  return total;
}

}  // namespace

SourceFiles::SourceFiles(const FileOptions& options, const std::vector<std::string>& columns,
                         const SourceLedger& ledger, Progress& progress)
    : options_(options),
      columns_(columns),
      ledger_(ledger),
      progress_(progress),
      total_bytes_(std::max<int64_t>(total_bytes(options.paths), 1)) {}

void SourceFiles::for_each_record(const Read& read) {
  progress_.begin("read", total_bytes_, "bytes");
  for (const auto& path : options_.paths) read_file(path, read);
  progress_.end();
  if (rows_ == 0) throw DataError(concat(options_.paths.front(), ": the file has a header and no rows"));
}

void SourceFiles::read_file(const std::filesystem::path& path, const Read& read) {
  const auto reader = open_records(path, options_, columns_);
  for (SourceRecord record; reader->next(record);) {
    const std::string_view reason = record.reason.empty() ? read(record) : record.reason;
    if (reason.empty()) {
      ledger_.quarantine.accept();
    } else {
      ledger_.quarantine.reject({path, record.line, record.raw}, reason);
    }
    if (++rows_ % kReportRows == 0) report(done_bytes_ + reader->source().consumed());
  }
  done_bytes_ += reader->source().consumed();
  report(done_bytes_);
  ledger_.sources[reader->source().path()] = reader->source().digest();
}

void SourceFiles::report(int64_t bytes) {
  progress_.advance(bytes);
  ledger_.quarantine.check_hopeless(static_cast<double>(bytes) / static_cast<double>(total_bytes_));
}

}  // namespace rondo
