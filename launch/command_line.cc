#include "launch/command_line.h"

#include <boost/program_options.hpp>

#include <iostream>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

std::vector<std::string> option_names(const po::options_description& options) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back("--" + option->long_name());
  return names;
}

[[noreturn]] void usage_error(const CommandHelp& help, const std::string& what) {
  throw ConfigError(concat(help.name, ": ", what, "\n(rondo ", help.name, " --help lists the options)"),
                    ExitCode::kUsage);
}

}  // namespace

std::optional<po::variables_map> parse_command_line(const CommandHelp& help, const po::options_description& options,
                                                    int argc, char** argv) {
  po::options_description all("Options", 110, 60);
  all.add(options).add_options()("help,h", "print this text");
  po::variables_map values;
  try {
    const auto style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    po::store(po::command_line_parser(argc, argv).options(all).style(style).positional({}).run(), values);
    if (values.count("help") > 0) {
      std::cout << "rondo " << help.name << ": " << help.summary << "\n\n"
                << all << "\nExample:\n  " << help.example << "\n";
      return std::nullopt;
    }
    po::notify(values);
  } catch (const po::unknown_option& error) {
    usage_error(help, concat("unknown option ", error.get_option_name(),
                             did_you_mean(error.get_option_name(), option_names(all))));
  } catch (const po::error& error) {
    usage_error(help, error.what());
  }
  return values;
}

void add_job_options(po::options_description& options) {
  options.add_options()(
      "job", po::value<std::vector<std::string>>()->composing()->value_name("FILE"),
      "a job (proto/job.proto as text); may be given several times, later files lie over earlier ones")(
      "set", po::value<std::vector<std::string>>()->composing()->value_name("path.to.field=value"),
      "changes one field, last of all; may be given several times");
}

std::vector<std::string> named_files(const po::variables_map& values) {
  return values.count("job") > 0 ? values["job"].as<std::vector<std::string>>() : std::vector<std::string>{};
}

std::vector<std::string> assignments(const po::variables_map& values) {
  return values.count("set") > 0 ? values["set"].as<std::vector<std::string>>() : std::vector<std::string>{};
}

}  // namespace rondo
