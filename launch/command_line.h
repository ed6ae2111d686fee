#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <optional>
#include <string>
#include <vector>

namespace rondo {

/// What a subcommand says of itself.
struct CommandHelp {
  std::string name;     // "train"
  std::string summary;  // one line
  std::string example;  // a command that runs; --help ends with it
};

/// The options of one call. Nothing when --help was asked for (and printed). Throws ConfigError (kUsage) that names the
/// wrong word and the nearest option.
std::optional<boost::program_options::variables_map> parse_command_line(
    const CommandHelp& help, const boost::program_options::options_description& options, int argc, char** argv);

/// Adds --job (several) and --set (several).
void add_job_options(boost::program_options::options_description& options);

/// What was given to them.
std::vector<std::string> named_files(const boost::program_options::variables_map& values);
std::vector<std::string> assignments(const boost::program_options::variables_map& values);

}  // namespace rondo
