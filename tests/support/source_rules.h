#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rondo {

struct SourceFile {
  std::string path;  // from the root of the project, "/" between folders
  std::vector<std::string> lines;
};

/// Sources, headers and build files below sharding/, trainer/, proto/, launch/ and tests/, sorted by path.
std::vector<SourceFile> read_sources(const std::filesystem::path& root);

/// What breaks the rules of the house: DESIGN 2 (which folder may include which, headers of C libraries only where they
/// are wrapped), the budgets of STYLE 3 that a count of lines can check, and that every source is in a build file.
/// One line each, "path:line: what is wrong". Empty: all is well.
std::vector<std::string> violations(const std::vector<SourceFile>& files);

}  // namespace rondo
