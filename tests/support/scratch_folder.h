#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "sharding/base/error.h"

namespace rondo::testing {

/// An empty folder of its own for one test, gone when the test ends. In memory where the system offers that: a sync of
/// a disk takes milliseconds.
class ScratchFolder {
 public:
  ScratchFolder() {
    for (const std::filesystem::path& parent :
         {std::filesystem::path("/dev/shm"), std::filesystem::temp_directory_path()}) {
      std::string name = (parent / "rondo-test-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) continue;
      path_ = name;
      return;
    }
    throw StorageError("no folder for the test can be made");
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace rondo::testing
