#include "tests/support/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "sharding/base/check.h"

namespace rondo::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long mpirun may take to end its ranks.
constexpr std::chrono::seconds kOrderlyEnd{10};

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Every process that descends from `ancestor`, parents first.
std::vector<pid_t> descendants(pid_t ancestor) {
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = text_of(entry.path() / "stat");  // pid (name) state parent ...
    const size_t after_name = stat.rfind(')');
    if (after_name == std::string::npos) continue;  // gone meanwhile
    std::istringstream rest(stat.substr(after_name + 1));
    char state = ' ';
    pid_t parent = 0;
    if (rest >> state >> parent) children.emplace(parent, std::stoi(name));
  }
  std::vector<pid_t> found{ancestor};
  for (size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = children.equal_range(found[i]);
    for (auto child = first; child != last; ++child) found.push_back(child->second);
  }
  found.erase(found.begin());
  return found;
}

/// In the child, between fork and exec: nothing but system calls.
void enter(const ProcessOptions& options, int out, int err) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::chdir(options.folder.c_str()) != 0) ::_exit(126);
  ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (options.permissions_count) ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);  // fails for those who do not have it
  if (options.largest_file_bytes) {
    ::signal(SIGXFSZ, SIG_IGN);  // the write fails instead
    const rlimit limit{*options.largest_file_bytes, *options.largest_file_bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
}

std::string read_stream(int file) {
  std::string text;
  char block[4096];
  ::lseek(file, 0, SEEK_SET);
  for (ssize_t bytes = 0; (bytes = ::read(file, block, sizeof block)) > 0;) {
    text.append(block, static_cast<size_t>(bytes));
  }
  return text;
}

int open_stream(const std::filesystem::path& path) {
  const int file = path.empty() ? ::memfd_create("stream", MFD_CLOEXEC) : ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) throw StorageError(concat("no stream for a process: ", std::strerror(errno)));
  return file;
}

}  // namespace

Process::Process(ProcessOptions options)
    : options_(std::move(options)),
      deadline_(steady_clock::now() + options_.timeout),
      out_(open_stream(options_.output)),
      err_(open_stream({})) {
  std::vector<char*> arguments;
  for (std::string& word : options_.command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    enter(options_, out_, err_);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  if (pid_ < 0) throw StorageError(concat("cannot fork: ", std::strerror(errno)));
}

Process::~Process() {
  end_all();
  ::close(out_);
  ::close(err_);
}

bool Process::has_ended() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_.has_value();
}

void Process::end_all() {
  if (has_ended()) return;
  ::kill(pid_, SIGTERM);
  if (wait_until([this] { return has_ended(); }, kOrderlyEnd)) return;
  for (const pid_t child : descendants(pid_)) ::kill(child, SIGKILL);
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  status_ = status;
}

ProcessResult Process::wait() {
  while (!has_ended() && steady_clock::now() < deadline_) std::this_thread::sleep_for(milliseconds(1));
  ProcessResult result;
  if (has_ended()) {
    result.code = WIFSIGNALED(*status_) ? 128 + WTERMSIG(*status_) : WEXITSTATUS(*status_);
  } else {
    ADD_FAILURE() << options_.command.front() << " ran longer than " << options_.timeout.count() << " s";
    end_all();
  }
  if (options_.output.empty()) result.out = read_stream(out_);
  result.err = read_stream(err_);
  return result;
}

std::map<int, pid_t> Process::ranks() const {
  static const std::string kRank("\0OMPI_COMM_WORLD_RANK=", 22);
  std::map<int, pid_t> ranks;
  for (const pid_t pid : descendants(pid_)) {
    const std::string environment = text_of(concat("/proc/", pid, "/environ"));
    const size_t place = environment.find(kRank);
    if (place != std::string::npos) ranks[std::stoi(environment.substr(place + kRank.size()))] = pid;
  }
  return ranks;
}

ProcessResult run_process(ProcessOptions options) { return Process(std::move(options)).wait(); }

bool wait_until(const std::function<bool()>& holds, std::chrono::seconds limit) {
  const auto end = steady_clock::now() + limit;
  while (!holds()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

}  // namespace rondo::testing
