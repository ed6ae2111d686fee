#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "launch/rank_process.h"
#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"

namespace rondo {
namespace {

void print_usage(std::FILE* out) {
  std::fputs("rondo: trains recommenders with sharded item tables and text towers\n\nCommands:\n", out);
  for (const Command& command : commands()) std::fprintf(out, "  %-10s %s\n", command.name, command.summary);
  std::fputs("\nrondo COMMAND --help lists the options of one. Several ranks: mpirun -n 2 rondo train ...\n", out);
}

/// What was printed may wait in a buffer, and the disk behind it may be full: then it was not said.
void flush_answer() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw StorageError(
      concat("cannot write to standard output", errno == 0 ? "" : ": ", errno == 0 ? "" : std::strerror(errno)));
}

int run(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name.empty() || name == "--help" || name == "-h") {
    print_usage(name.empty() ? stderr : stdout);
    return static_cast<int>(name.empty() ? ExitCode::kUsage : ExitCode::kDone);
  }
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (name == command.name) return command.run(argc - 1, argv + 1);
    names.emplace_back(command.name);
  }
  std::fprintf(stderr, "rondo: unknown command \"%s\"%s\n", name.c_str(), did_you_mean(name, names).c_str());
  print_usage(stderr);
  return static_cast<int>(ExitCode::kUsage);
}

}  // namespace
}  // namespace rondo

int main(int argc, char** argv) {
  rondo::wait_passively(argv);
  try {
    const int code = rondo::run(argc, argv);
    rondo::flush_answer();
    return code;
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "rondo: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::bad_alloc&) {
    std::fputs("rondo: out of memory\n", stderr);
    return static_cast<int>(rondo::ExitCode::kInternal);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rondo: internal error: %s\n", error.what());
    return static_cast<int>(rondo::ExitCode::kInternal);
  }
}
