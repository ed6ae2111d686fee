#include "trainer/data/dataset_output.h"

#include "sharding/base/check.h"
#include "trainer/data/dataset_files.h"

namespace rondo {
namespace {

void check_place(const std::filesystem::path& out, OutputMode mode) {
  std::error_code ignored;
  if (mode == OutputMode::kAppend) return;  // reading the record says what is wrong
  if (!std::filesystem::exists(out, ignored)) return;
  if (!std::filesystem::is_directory(out, ignored)) {
    throw StorageError(concat(out.string(), " is a file, expected a folder to make"), ExitCode::kCannotCreate);
  }
  if (std::filesystem::is_empty(out, ignored)) return;
  const bool is_dataset = std::filesystem::exists(out / kDatasetRecordFile, ignored);
  if (is_dataset && mode == OutputMode::kOverwrite) return;
  throw StorageError(concat(out.string(), is_dataset ? " holds a dataset; --overwrite replaces it, --append adds to it"
                                                     : " is not empty and holds no dataset; choose another folder"),
                     ExitCode::kCannotCreate);
}

}  // namespace

DatasetOutput::DatasetOutput(FileSystem& files, const std::filesystem::path& out, OutputMode mode,
                             double max_rejected_fraction)
    : files_(files), rejected_path_(out.string() + ".rejected.tsv") {
  check_place(out, mode);
  files_.make_folder(std::filesystem::absolute(out).parent_path());
  folder_.emplace(files_, out);
  files_.remove(rejected_path_);
  const auto old = out / kRejectedFile;
  std::error_code ignored;
  if (mode == OutputMode::kAppend && std::filesystem::exists(old, ignored)) {
    std::filesystem::copy_file(old, rejected_path_);
  }
  quarantine_.emplace(rejected_path_, max_rejected_fraction);
}

DatasetOutput::~DatasetOutput() {
  std::error_code ignored;
  if (quarantine_->rejected() == 0) std::filesystem::remove(rejected_path_, ignored);
}

void DatasetOutput::publish(const DatasetRecord& record) {
  quarantine_->flush();
  files_.rename(rejected_path_, folder() / kRejectedFile);
  files_.sync(folder() / kRejectedFile);
  write_dataset_record(folder(), record);
  folder_->publish();
}

}  // namespace rondo
