#include "trainer/checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr size_t kLongestLock = 4096;
constexpr int kTries = 100;

/// Who holds a lock: one "name value" a line.
struct Holder {
  std::string host, process, job;
};

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

std::string scheduler_job() {
  const char* const job = std::getenv("SLURM_JOB_ID");
  return job == nullptr ? "" : job;
}

/// Only what a host name, a number or a job id may hold: it is printed.
bool is_word(const std::string& text) {
  return text.size() <= 255 && std::ranges::all_of(text, [](unsigned char c) { return c > 32 && c < 127; });
}

Holder read_holder(int descriptor) {
  std::string text(kLongestLock, '\0');
  const ssize_t count = ::pread(descriptor, text.data(), text.size(), 0);
  text.resize(count < 0 ? 0 : static_cast<size_t>(count));
  Holder holder;
  std::istringstream lines(text);
  for (std::string name, value; lines >> name >> value;) {
    if (!is_word(value)) continue;
    if (name == "host") holder.host = value;
    if (name == "process") holder.process = value;
    if (name == "job") holder.job = value;
  }
  return holder;
}

std::string describe(const Holder& holder) {
  if (holder.host.empty()) return "a holder that left no name";
  const std::string job = holder.job.empty() ? "" : ", job " + holder.job;
  return concat("process ", holder.process, " on host ", holder.host, job);
}

/// May another host hold a lock on this file that we do not see?
bool is_shared_between_hosts(int descriptor) {
  // NFS, SMB, SMB2, CIFS, Lustre, GPFS, Ceph, FUSE, BeeGFS, AFS
  constexpr std::array<uint32_t, 10> kNetwork = {0x6969,     0x517b,     0xfe534d42, 0xff534d42, 0x0bd00bd0,
                                                 0x47504653, 0x00c36400, 0x65735546, 0x19830326, 0x5346414f};
  struct statfs system = {};
  if (::fstatfs(descriptor, &system) != 0) return true;
  return std::ranges::find(kNetwork, static_cast<uint32_t>(system.f_type)) != kNetwork.end();
}

/// Is the file behind the descriptor still the one of this name? Its last holder may have removed it meanwhile.
bool is_current(int descriptor, const std::filesystem::path& path) {
  struct stat opened = {}, named = {};
  return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw StorageError(concat("run folder ", path.parent_path().string(), " ", why), ExitCode::kCannotCreate);
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder) : path_(folder / "LOCK") {
  make_posix_file_system()->make_folder(folder);
  for (int i = 0; i < kTries && descriptor_ < 0; ++i) {
    const int descriptor = ::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor < 0) refuse(path_, concat("cannot be locked: ", path_.string(), ": ", std::strerror(errno)));
    try {
      take(descriptor);
    } catch (...) {
      ::close(descriptor);
      throw;
    }
    if (descriptor_ < 0) ::close(descriptor);
  }
  if (descriptor_ < 0) refuse(path_, "is being locked by other jobs again and again");
}

/// Sets descriptor_, or leaves it when the file was removed in between.
void RunLock::take(int descriptor) {
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) refuse(path_, concat("cannot be locked: ", std::strerror(errno)));
    refuse(path_, concat("is in use by ", describe(read_holder(descriptor)),
                         ": stop that job first, or choose another folder"));
  }
  if (!is_current(descriptor, path_)) return;
  const Holder last = read_holder(descriptor), me{host_name(), std::to_string(::getpid()), scheduler_job()};
  const bool same_job = !me.job.empty() && last.job == me.job;
  if (!last.host.empty() && last.host != me.host && !same_job && is_shared_between_hosts(descriptor)) {
    refuse(path_, concat("was locked by ", describe(last),
                         ", which cannot be seen from here: if that job is gone, remove ", path_.string()));
  }
  if (!last.host.empty()) log_warning(concat("taking over the lock that ", describe(last), " left"));
  const std::string text =
      concat("host ", me.host, "\nprocess ", me.process, "\n", me.job.empty() ? "" : concat("job ", me.job, "\n"));
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    refuse(path_, concat("cannot be locked: ", std::strerror(errno)));
  }
  descriptor_ = descriptor;
}

RunLock::~RunLock() {
  // Removed while it is held: whoever opened it meanwhile sees that the name is gone, and tries again.
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

}  // namespace rondo
