#include <cstdio>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/job_options.h"
#include "trainer/data/synth.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {

namespace po = boost::program_options;

int run_synth(int argc, char** argv) {
  const CommandHelp help{"synth", "makes a shop from a seed: catalog.csv and events.csv",
                         "rondo synth --out /tmp/shop --set synth.events=100000"};
  po::options_description options;
  options.add_options()("out", po::value<std::string>()->required(), "folder to write into; it is made");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const JobOptions job = job_of(*values);
  ProgressBar progress;
  const SynthReport report = synthesize(job.synth, (*values)["out"].as<std::string>(), progress);
  std::printf("%lld events in %s\n%lld items in %s\n", static_cast<long long>(report.events_written),
              report.events.c_str(), static_cast<long long>(job.synth.items), report.catalog.c_str());
  return 0;
}

}  // namespace rondo
