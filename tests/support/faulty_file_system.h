#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/storage/file_system.h"

namespace rondo::testing {

/// What goes wrong. Operations that change something are counted from 0.
struct FaultPlan {
  enum class Kind {
    kNone,
    kFail,  ///< operation `at` fails without effect; later ones work
    kStop,  ///< as if the process had died: operation `at` and all later ones fail without effect
  };
  Kind kind = Kind::kNone;
  int64_t at = 0;
  int64_t free_bytes = -1;  // what the disk says it has; -1: the truth
};

/// The real file system with faults, which remembers what was made durable: `lose_power` undoes the rest. Ranks that
/// are threads may share one.
class FaultyFileSystem final : public FileSystem {
 public:
  using Path = std::filesystem::path;

  explicit FaultyFileSystem(FaultPlan plan = {}) : plan_(plan) {}

  void make_folder(const Path& folder) override {
    perform("make folder", folder, [&] { real_->make_folder(folder); });
  }

  void replace_file(const Path& path, std::string_view bytes) override {
    perform("replace", path, [&] {
      real_->replace_file(path, bytes);
      synced_.insert(path);
      keep_names(path.parent_path());
    });
  }

  void sync(const Path& path) override {
    perform("sync", path, [&] {
      real_->sync(path);
      std::filesystem::is_directory(path) ? keep_names(path) : void(synced_.insert(path));
    });
  }

  void rename(const Path& from, const Path& to) override {
    perform("rename", from, [&] {
      real_->rename(from, to);
      move(synced_, from, to);
      move(named_, from, to);
      keep_names(to.parent_path());
    });
  }

  void remove(const Path& path) override {
    perform("remove", path, [&] { real_->remove(path); });
  }

  int64_t free_bytes(const Path& path) const override {
    return plan_.free_bytes >= 0 ? plan_.free_bytes : real_->free_bytes(path);
  }

  /// "rename step-000000001.tmp", ... in the order of the calls.
  const std::vector<std::string>& log() const { return log_; }

  /// Below `root`, undoes what was not made durable: names that no sync of their folder kept are gone, files that were
  /// not synced are empty.
  void lose_power(const Path& root) const {
    std::vector<Path> lost;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (!named_.contains(entry.path())) lost.push_back(entry.path());
      if (entry.is_regular_file() && !synced_.contains(entry.path())) std::filesystem::resize_file(entry.path(), 0);
    }
    for (const Path& path : lost) std::filesystem::remove_all(path);
  }

 private:
  template <typename Body>
  void perform(const char* operation, const Path& path, const Body& body) {
    const std::lock_guard lock(mutex_);
    const auto number = static_cast<int64_t>(log_.size());
    log_.push_back(concat(operation, " ", path.filename().string()));
    const bool fails = (plan_.kind == FaultPlan::Kind::kFail && number == plan_.at) ||
                       (plan_.kind == FaultPlan::Kind::kStop && number >= plan_.at);
    if (fails) throw StorageError(concat("cannot ", operation, " ", path.string(), ": No space left on device"));
    body();
  }

  void keep_names(const Path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) named_.insert(entry.path());
  }

  static void move(std::set<Path>& paths, const Path& from, const Path& to) {
    std::set<Path> moved;
    for (const Path& path : paths) {
      const Path below = path.lexically_relative(from);
      const bool inside = !below.empty() && *below.begin() != "..";
      moved.insert(inside ? (below == "." ? to : to / below) : path);
    }
    paths = std::move(moved);
  }

  FaultPlan plan_;
  std::unique_ptr<FileSystem> real_ = make_posix_file_system();
  std::mutex mutex_;
  std::vector<std::string> log_;
  std::set<Path> synced_;  // files whose content is durable
  std::set<Path> named_;   // files and folders whose name is durable
};

}  // namespace rondo::testing
