#include <cstdio>
#include <nlohmann/json.hpp>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/inspection.h"
#include "sharding/base/error.h"

namespace rondo {

namespace po = boost::program_options;

int run_inspect(int argc, char** argv) {
  const CommandHelp help{"inspect", "says what is in a dataset, checkpoint, item index or run folder",
                         "rondo inspect --path runs/first --verify"};
  po::options_description options;
  options.add_options()("path", po::value<std::string>()->required(), "a folder that Rondo wrote")(
      "verify", po::bool_switch(), "read every file and compare its digest")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const bool verify = (*values)["verify"].as<bool>();
  const auto object = inspect_folder((*values)["path"].as<std::string>(),
                                     verify ? InspectionDepth::kDigests : InspectionDepth::kRecords);
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  std::fputs(
      ((*values)["json"].as<bool>() ? object.dump(-1, ' ', false, replace) + "\n" : inspection_text(object)).c_str(),
      stdout);
  const std::string problems = problems_in(object);
  std::fputs(problems.c_str(), stderr);
  return static_cast<int>(problems.empty() ? ExitCode::kDone : ExitCode::kIoOrDeadline);
}

}  // namespace rondo
