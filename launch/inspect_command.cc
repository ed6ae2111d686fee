#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "sharding/base/check.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/data/dataset_record.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

namespace po = boost::program_options;
using Json = nlohmann::ordered_json;

Json describe_dataset(const std::filesystem::path& folder) {
  const DatasetRecord record = read_dataset_record(folder);
  return {{"kind", "dataset"},
          {"folder", folder.string()},
          {"users", record.users},
          {"items", record.items},
          {"events", record.events},
          {"rows_read", record.rows_read},
          {"rows_filtered", record.rows_filtered},
          {"duplicates_dropped", record.duplicates_dropped},
          {"rejected", record.rejected},
          {"behaviours", record.behaviours},
          {"vocabulary_sha256", record.vocabulary_sha256},
          {"files", record.digests}};
}

Json describe_checkpoint(const std::filesystem::path& folder) {
  const auto path = folder / kManifestName;
  const Manifest manifest = parse_manifest(read_file(path), path);
  Json tables = Json::array();
  for (const auto& table : manifest.tables) {
    int64_t rows = 0;
    for (const auto& part : table.parts) rows += part.rows;
    tables.push_back({{"name", table.name},
                      {"rows", rows},
                      {"dim", table.dim},
                      {"type", table.row_type},
                      {"optimizer", table.optimizer}});
  }
  Json tensors = Json::array();
  for (const auto& tensor : manifest.tensors)
    tensors.push_back({{"name", tensor.name}, {"type", tensor.dtype}, {"shape", tensor.shape}});
  return {{"kind", "checkpoint"},
          {"folder", folder.string()},
          {"step", manifest.step},
          {"world", manifest.world},
          {"bytes", manifest.bytes()},
          {"epoch", manifest.cursor.epoch},
          {"next_example", manifest.cursor.next},
          {"tables", tables},
          {"tensors", tensors}};
}

/// A dataset, a checkpoint, or the newest checkpoint of a run folder.
Json describe(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / kDatasetRecordFile)) return describe_dataset(folder);
  if (std::filesystem::exists(folder / kManifestName)) return describe_checkpoint(folder);
  for (const auto& latest : {folder / "LATEST", folder / "checkpoints" / "LATEST"}) {
    if (!std::filesystem::exists(latest)) continue;
    std::string name = read_file(latest, 4096);
    while (!name.empty() && name.back() == '\n') name.pop_back();
    if (!is_plain_name(name)) throw StorageError(latest.string() + ": names no checkpoint");
    return describe_checkpoint(latest.parent_path() / name);
  }
  throw DataError(concat(folder.string(), ": neither a dataset, nor a checkpoint, nor a run folder with one"),
                  ExitCode::kMissingInput);
}

void print_for_people(const Json& object, int indent) {
  for (const auto& [name, value] : object.items()) {
    const std::string label = fmt::format("{:{}}{}", "", indent, name);
    if (value.is_array() && !value.empty() && value.front().is_object()) {
      std::printf("%s\n", label.c_str());
      for (const auto& entry : value) std::printf("%*s%s\n", indent + 2, "", entry.dump().c_str());
    } else {
      std::printf("%-22s %s\n", label.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
  }
}

}  // namespace

int run_inspect(int argc, char** argv) {
  const CommandHelp help{"inspect", "says what is in a dataset, checkpoint or run folder",
                         "rondo inspect --path runs/first"};
  po::options_description options;
  options.add_options()("path", po::value<std::string>()->required(), "a folder that Rondo wrote")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const Json object = describe((*values)["path"].as<std::string>());
  if ((*values)["json"].as<bool>()) {
    std::puts(object.dump().c_str());
  } else {
    print_for_people(object, 0);
  }
  return 0;
}

}  // namespace rondo
