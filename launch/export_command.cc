#include <cstdio>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_setup.h"
#include "launch/run_text.h"
#include "sharding/base/check.h"
#include "sharding/comm/thread_communicator.h"
#include "trainer/storage/file_system.h"
#include "trainer/text/text_export.h"

namespace rondo {

namespace po = boost::program_options;

int run_export(int argc, char** argv) {
  const CommandHelp help{"export", "writes the text tower of a run as a folder that others load",
                         "rondo export --run runs/first --format hf --out models/first"};
  po::options_description options;
  options.add_options()("run", po::value<std::string>()->required(), "run folder that rondo train made")(
      "checkpoint", po::value<std::string>()->default_value(""), "name below checkpoints/ (default: the newest)")(
      "format", po::value<std::string>()->default_value("hf"),
      "hf: for transformers, and sentence-transformers where it is no classifier")(
      "out", po::value<std::string>()->required(), "folder to make");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const auto format = (*values)["format"].as<std::string>(), out = (*values)["out"].as<std::string>();
  if (format != "hf") throw ConfigError("--format must be hf, got \"" + format + "\"", ExitCode::kUsage);
  if (std::filesystem::exists(out)) {
    throw ConfigError("--out: " + out + " exists; name a folder that does not", ExitCode::kCannotCreate);
  }
  const RunFolder run((*values)["run"].as<std::string>());
  const JobOptions job = job_of_run(run, named_files(*values), assignments(*values));
  const auto alone = make_single_communicator(job.communication);
  const TextModel model = open_run_text(run, (*values)["checkpoint"].as<std::string>(), job, *alone);
  const auto files = make_posix_file_system();
  write_text_folder({model.options, weights_of(*model.tower, ""), model.classifier, {}, model.max_tokens},
                    *model.tokenizer, out, *files);
  std::printf("%s is in %s\n", model.name.c_str(), out.c_str());
  return 0;
}

}  // namespace rondo
