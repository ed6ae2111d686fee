#pragma once

#include <filesystem>

#include "trainer/storage/file_system.h"

namespace rondo {

/// A folder that is filled beside its final place and then takes it, so that nobody sees a part of it. Removed unless
/// it was published.
class OutputFolder {
 public:
  /// Makes "<target>.tmp.<process>". Keeps a reference. Throws StorageError (kCannotCreate).
  OutputFolder(FileSystem& files, std::filesystem::path target);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Durably takes the place of the target, which, if it is there, stands aside for the moment of the exchange as
  /// "<target>.old.<process>" and is removed then.
  void publish();

 private:
  FileSystem& files_;
  std::filesystem::path target_;
  std::filesystem::path path_;
  bool published_ = false;
};

}  // namespace rondo
