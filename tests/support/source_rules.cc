#include "tests/support/source_rules.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string_view>

namespace rondo {

namespace {

using Layers = std::vector<std::set<std::string>>;

/// Lowest first. A folder may include itself and the layers below it, never its neighbours in a layer.
const Layers kSharding = {{"base"}, {"handle"}, {"comm", "plan"}, {"exchange"}, {"embedding"}, {"vocabulary"}};
const Layers kTrainer = {{"storage"},       {"nn", "tokenizer", "image"},
                         {"optim", "data"}, {"text", "vision", "peft"},
                         {"model"},         {"eval", "checkpoint", "telemetry", "privacy"},
                         {"loop"}};

struct Wrapped {
  std::vector<std::string> headers;  // whole names, "prefix*" and "*suffix"
  std::vector<std::string> files;    // that may include them, in the same way
};

const std::vector<Wrapped> kWrapped = {
    {{"mpi.h"}, {"sharding/handle/mpi_session.cc", "sharding/comm/mpi_transport.cc", "tests/support/mpi_main.cc"}},
    {{"nccl.h"}, {"sharding/handle/nccl_*", "sharding/comm/nccl_*"}},
    {{"cuda_runtime.h", "cuda_runtime_api.h"}, {"sharding/handle/cuda_*", "*.cu"}},
    {{"dnnl.h"}, {"trainer/nn/onednn.cc"}},
    {{"hdf5.h"}, {"trainer/storage/hdf5_*", "tests/trainer/storage/hdf5_*"}},
    {{"*.pb.h", "google/protobuf/*"},
     {"launch/job_*", "tests/launch/job_*", "launch/proto_text.*", "launch/profile_text.cc",
      "trainer/data/dataset_record.cc", "trainer/data/schema_proto.cc", "trainer/checkpoint/manifest.cc",
      "tests/trainer/data/synth_test.cc"}},
};

/// Each takes a file that includes it ten seconds and a gigabyte.
const std::set<std::string> kTooLarge = {"torch/torch.h", "torch/nn.h", "torch/all.h", "torch/extension.h",
                                         "ATen/ATen.h"};
const std::set<std::string> kTorchInHeaders = {"ATen/core/Tensor.h", "c10/core/ScalarType.h"};
/// Included only where an autograd function is defined, which needs the same header anyway.
const std::set<std::string> kMayIncludeMoreTorch = {"trainer/nn/autograd_memory.h"};

constexpr size_t kHeaderLines = 250;
constexpr size_t kSourceLines = 500;

struct Include {
  std::string name;
  bool quoted;
  size_t line;  // from 1
};

bool matches(const std::string& name, const std::string& pattern) {
  if (pattern.starts_with('*')) return name.ends_with(pattern.substr(1));
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

bool is_header(const std::string& path) { return path.ends_with(".h") || path.ends_with(".cuh"); }
bool is_source(const std::string& path) { return path.ends_with(".cc") || path.ends_with(".cu"); }
bool is_code(const std::string& path) { return is_header(path) || is_source(path); }
bool is_build_file(const std::string& path) { return path.ends_with("CMakeLists.txt") || path.ends_with(".cmake"); }
bool is_test(const std::string& path) { return path.starts_with("tests/"); }

std::string folder_of(const std::string& path) { return path.substr(0, path.find_last_of('/')); }
std::string name_of(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }
std::string stem_of(const std::string& path) { return path.substr(0, path.find_last_of('.')); }

std::vector<Include> includes_of(const SourceFile& file) {
  std::vector<Include> includes;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    std::string_view line = file.lines[i];
    const auto skip_blanks = [&line] { line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size())); };
    skip_blanks();
    if (!line.starts_with('#')) continue;
    line.remove_prefix(1);
    skip_blanks();
    if (!line.starts_with("include")) continue;
    line.remove_prefix(7);
    skip_blanks();
    if (!line.starts_with('"') && !line.starts_with('<')) continue;
    const bool quoted = line[0] == '"';
    includes.push_back({std::string(line.substr(1, line.find(quoted ? '"' : '>', 1) - 1)), quoted, i + 1});
  }
  return includes;
}

/// Layer of a folder, -1 if it is in none.
int layer_of(const Layers& layers, const std::string& folder) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].contains(folder)) return static_cast<int>(i);
  }
  return -1;
}

/// "trainer/data/x.h" -> {"trainer", "data"}; "launch/x.h" -> {"launch", ""}.
std::array<std::string, 2> room_of(const std::string& path) {
  const size_t first = path.find('/');
  const size_t second = path.find('/', first + 1);
  return {path.substr(0, first), second == std::string::npos ? "" : path.substr(first + 1, second - first - 1)};
}

bool may_include(const std::string& from, const std::string& to) {
  const auto [house, room] = room_of(from);
  const auto [other_house, other_room] = room_of(to);
  if (house == "tests") return true;
  static const std::map<std::string, std::set<std::string>> kHouses = {
      {"proto", {}},
      {"sharding", {"sharding"}},
      {"trainer", {"trainer", "sharding", "proto"}},
      {"launch", {"launch", "trainer", "sharding", "proto"}}};
  const auto houses = kHouses.find(house);
  if (houses == kHouses.end() || !houses->second.contains(other_house)) return false;
  if (house != other_house || room == other_room) return true;
  const Layers& layers = house == "sharding" ? kSharding : kTrainer;
  return layer_of(layers, other_room) < layer_of(layers, room);
}

class Checker {
 public:
  explicit Checker(const std::vector<SourceFile>& files) : files_(files) {
    for (const SourceFile& file : files) {
      paths_.insert(file.path);
      if (is_build_file(file.path)) read_build_file(file);
    }
  }

  std::vector<std::string> run() {
    for (const SourceFile& file : files_) {
      if (!is_code(file.path)) continue;
      check_place(file);
      check_text(file);
      check_includes(file);
      if (is_header(file.path)) check_types(file);
    }
    return std::move(found_);
  }

 private:
  void report(const std::string& path, size_t line, const std::string& what) {
    found_.push_back(path + ":" + std::to_string(line) + ": " + what);
  }

  void read_build_file(const SourceFile& file) {
    std::set<std::string>& words = words_[folder_of(file.path)];
    for (std::string line : file.lines) {
      line = line.substr(0, line.find('#'));
      for (char& c : line) {
        if (c == '(' || c == ')' || c == '"' || c == ';') c = ' ';
      }
      for (size_t begin = 0; begin < line.size();) {
        const size_t end = std::min(line.find_first_of(" \t", begin), line.size());
        if (end > begin) words.insert(line.substr(begin, end - begin));
        begin = end + 1;
      }
    }
  }

  void check_place(const SourceFile& file) {
    const auto [house, room] = room_of(file.path);
    if ((house == "sharding" && layer_of(kSharding, room) < 0) ||
        (house == "trainer" && layer_of(kTrainer, room) < 0)) {
      report(file.path, 1, "folder " + house + "/" + room + " has no place in the design");
    }
    const std::string stem = stem_of(name_of(file.path));
    for (const char* vague : {"utils", "util", "helpers", "common", "manager"}) {
      if (stem.ends_with(vague)) report(file.path, 1, "a name that says what is inside expected, not *" + stem);
    }
    const bool needs_target = is_source(file.path) || !is_test(file.path);
    const std::string from_root = "${PROJECT_SOURCE_DIR}/" + file.path;
    const bool listed = words_[folder_of(file.path)].contains(name_of(file.path)) ||
                        std::any_of(words_.begin(), words_.end(),
                                    [&](const auto& folder) { return folder.second.contains(from_root); });
    if (needs_target && !listed) report(file.path, 1, "is in no CMakeLists.txt");
  }

  void check_text(const SourceFile& file) {
    const bool generated = !file.lines.empty() && file.lines[0].starts_with("// Generated by ");
    const size_t budget = is_header(file.path) ? kHeaderLines : kSourceLines;
    if (!generated && file.lines.size() > budget) {
      report(file.path, file.lines.size(), "budget of " + std::to_string(budget) + " lines exceeded");
    }
    bool once = !is_header(file.path) || file.path.ends_with("-inl.h");  // -inl: once per instruction set
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      once = once || line == "#pragma once";
      if (line.find("TO"
                    "DO") != std::string::npos ||
          line.find("FIX"
                    "ME") != std::string::npos) {
        report(file.path, i + 1, "finish it, or file it; the tree holds no notes of what is left");
      }
      if (is_header(file.path) && line.starts_with("using namespace")) {
        report(file.path, i + 1, "using namespace in a header");
      }
    }
    if (!once) report(file.path, 1, "#pragma once is missing");
  }

  /// Two types of one name in one namespace are one type to the linker, which takes the functions of either.
  void check_types(const SourceFile& file) {
    static const std::regex kNamespace(R"(^namespace ([\w:]+) \{)");
    static const std::regex kType(R"(^(?:struct|class|union|enum class) (\w+)(?: final)?(?: : [^;]*)? \{.*)");
    std::string space;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      std::smatch match;
      if (std::regex_search(file.lines[i], match, kNamespace)) space = match[1];
      if (!std::regex_match(file.lines[i], match, kType)) continue;
      const std::string name = space + "::" + match[1].str();
      const auto [first, fresh] = types_.emplace(name, file.path);
      if (!fresh) report(file.path, i + 1, name + " is in " + first->second + " already");
    }
  }

  void check_includes(const SourceFile& file) {
    const std::vector<Include> includes = includes_of(file);
    const std::string own = stem_of(file.path) + ".h";
    if (is_source(file.path) && paths_.contains(own) && (includes.empty() || includes[0].name != own)) {
      report(file.path, includes.empty() ? 1 : includes[0].line, "own header first");
    }
    for (const Include& include : includes) {
      check_wrapped(file.path, include);
      check_torch(file.path, include);
      check_ours(file.path, include);
    }
  }

  void check_wrapped(const std::string& path, const Include& include) {
    const auto any = [](const std::vector<std::string>& patterns, const std::string& name) {
      return std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) { return matches(name, pattern); });
    };
    for (const auto& [headers, files] : kWrapped) {
      if (any(headers, include.name) && !any(files, path)) {
        report(path, include.line, include.name + " only where it is wrapped");
      }
    }
  }

  void check_torch(const std::string& path, const Include& include) {
    if (kTooLarge.contains(include.name)) {
      report(path, include.line, include.name + " is too large: include the operators that are used");
      return;
    }
    const bool is_torch =
        include.name.starts_with("ATen/") || include.name.starts_with("torch/") || include.name.starts_with("c10/");
    if (is_torch && is_header(path) && !is_test(path) && !kTorchInHeaders.contains(include.name) &&
        !kMayIncludeMoreTorch.contains(path)) {
      report(path, include.line, include.name + " in a header: ATen/core/Tensor.h at most");
    }
  }

  void check_ours(const std::string& path, const Include& include) {
    static const std::set<std::string> kOurs = {"sharding", "trainer", "proto", "launch", "tests"};
    const bool ours = kOurs.contains(room_of(include.name)[0]);
    if (include.quoted != ours) {
      report(path, include.line, include.name + ": \"\" and the path from the root for ours, <> for all else");
      return;
    }
    if (!ours) return;
    const bool generated = include.name.ends_with(".pb.h");
    const std::string source = generated ? include.name.substr(0, include.name.size() - 5) + ".proto" : include.name;
    if (!paths_.contains(source)) report(path, include.line, include.name + " does not exist");
    if (!may_include(path, include.name)) report(path, include.line, "must not include " + include.name);
  }

  const std::vector<SourceFile>& files_;
  std::set<std::string> paths_;
  std::map<std::string, std::set<std::string>> words_;  // of the build files of a folder
  std::map<std::string, std::string> types_;            // by full name, the header that defines it
  std::vector<std::string> found_;
};

}  // namespace

std::vector<SourceFile> read_sources(const std::filesystem::path& root) {
  std::vector<SourceFile> files;
  for (const char* house : {"sharding", "trainer", "proto", "launch", "tests"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / house)) {
      const std::string path = std::filesystem::relative(entry.path(), root).generic_string();
      if (!is_code(path) && !is_build_file(path) && !path.ends_with(".proto")) continue;
      SourceFile file{path, {}};
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::vector<std::string> violations(const std::vector<SourceFile>& files) { return Checker(files).run(); }

}  // namespace rondo
