#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/profile_text.h"
#include "launch/rank_process.h"
#include "launch/tower_calibration.h"
#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/log.h"
#include "sharding/base/number_text.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/link_calibration.h"
#include "sharding/embedding/work_calibration.h"
#include "trainer/storage/file_system.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

constexpr double kMemoryShare = 0.85;  // of what the node has: the rest is the system's

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

double node_memory_bytes() {
  struct sysinfo info{};
  if (sysinfo(&info) != 0) throw InternalError("sysinfo failed");
  return static_cast<double>(info.totalram) * info.mem_unit;
}

/// Links, work and towers, in one profile; the same on every rank but for the work, of which rank 0's counts.
HardwareProfile calibrate(Communicator& comm, const std::string& name) {
  ProgressBar bar;
  SilentProgress silent;
  Progress& progress = comm.rank() == 0 ? static_cast<Progress&>(bar) : silent;
  HardwareProfile profile;
  profile.name = name;
  calibrate_links(comm, static_cast<int64_t>(hash_bytes(host_name()) >> 1), progress, profile);
  profile.memory_bytes = kMemoryShare * node_memory_bytes() / profile.ranks_per_node;
  calibrate_work({}, comm, progress, profile);
  profile.flops_per_second = tower_flops_per_second();
  comm.barrier({Channel::kControl, "calibrated"});
  return profile;
}

void write_profile(const HardwareProfile& profile, const std::string& path, int world) {
  validate(profile);
  const std::string comment = concat("Measured by rondo calibrate on ", world, " ranks of ", threads(), " threads, ",
                                     profile.ranks_per_node, " a node; ", utc_text(std::time(nullptr)), ".\nMemory is ",
                                     kMemoryShare, " of the node's, shared by its ranks.");
  make_posix_file_system()->replace_file(path, profile_text(profile, comment));
}

}  // namespace

int run_calibrate(int argc, char** argv) {
  const CommandHelp help{"calibrate", "measures links, memory and arithmetic of these machines for rondo plan",
                         "mpirun -n 2 rondo calibrate --out runs/profile.textproto"};
  po::options_description options;
  options.add_options()("out", po::value<std::string>()->required(), "the profile to write, for rondo plan --profile")(
      "name", po::value<std::string>()->default_value("calibrated"), "what plans call it")(
      "threads", po::value<int>()->default_value(0), "of each rank; 0: cores of the host / its ranks");
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const auto path = (*values)["out"].as<std::string>();
  run_as_rank(
      {{}, (*values)["threads"].as<int>()},
      [&](RankProcess& process) {
        if (process.comm.size() < 2) {
          throw ConfigError("calibrate needs two ranks or more to measure links: mpirun -n 2 rondo calibrate --out " +
                            path);
        }
        process.beat(Phase::kCheckpoint, 0);
        process.comm.set_phase(Phase::kCheckpoint);
        const HardwareProfile profile = calibrate(process.comm, (*values)["name"].as<std::string>());
        std::exception_ptr failure;
        if (process.comm.rank() == 0) {
          try {
            write_profile(profile, path, process.comm.size());
            log_info("wrote " + path);
          } catch (...) {
            failure = std::current_exception();
          }
        }
        agree(process.comm, failure, "profile");
      },
      [](const RankFailure&) {});
  return 0;
}

}  // namespace rondo
