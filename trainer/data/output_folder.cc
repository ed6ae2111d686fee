#include "trainer/data/output_folder.h"

#include <unistd.h>

#include "sharding/base/check.h"

namespace rondo {

OutputFolder::OutputFolder(FileSystem& files, std::filesystem::path target)
    : files_(files), target_(std::move(target)), path_(concat(target_.string(), ".tmp.", ::getpid())) {
  files_.remove(path_);
  files_.make_folder(path_);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove_all(path_, ignored);
}

void OutputFolder::publish() {
  files_.sync(path_);
  std::error_code ignored;
  const bool replaces = std::filesystem::exists(target_, ignored);
  const std::filesystem::path old = concat(target_.string(), ".old.", ::getpid());
  if (replaces) files_.rename(target_, old);
  try {
    files_.rename(path_, target_);
  } catch (...) {
    if (replaces) std::filesystem::rename(old, target_, ignored);
    throw;
  }
  published_ = true;
  if (replaces) files_.remove(old);
}

}  // namespace rondo
