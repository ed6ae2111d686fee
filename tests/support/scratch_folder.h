#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "sharding/base/check.h"

namespace rondo::testing {

/// An empty folder of its own for one test, gone when the test ends.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "rondo-test-XXXXXX").string();
    RONDO_CHECK(::mkdtemp(name.data()) != nullptr, name);
    path_ = name;
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
