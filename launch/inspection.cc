#include "launch/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/number_text.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/data/dataset_files.h"
#include "trainer/eval/index_manifest.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kNameWidth = 24;

bool is_table(const Json& value) { return value.is_array() && !value.empty() && value.front().is_object(); }

/// A value on one line.
std::string value_text(const Json& value) {
  if (value.is_null()) return "none";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer() && value <= INT64_MAX) return with_thousands(value.get<int64_t>());
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& element : value) text += (text.empty() ? "" : ", ") + value_text(element);
  return text.empty() ? "none" : text;
}

std::string table_text(const Json& rows, int indent) {
  std::vector<std::string> columns;
  for (const Json& row : rows) {
    for (const auto& [name, value] : row.items()) {
      if (std::ranges::find(columns, name) == columns.end()) columns.push_back(name);
    }
  }
  std::vector<std::vector<std::string>> cells{columns};
  for (const Json& row : rows) {
    auto& line = cells.emplace_back();
    for (const std::string& column : columns) line.push_back(row.contains(column) ? value_text(row[column]) : "");
  }
  std::string text;
  for (const auto& line : cells) {
    std::string padded(static_cast<size_t>(indent), ' ');
    for (size_t c = 0; c < columns.size(); ++c) {
      size_t width = 0;
      for (const auto& other : cells) width = std::max(width, other[c].size());
      padded += fmt::format("{:<{}}", line[c], width + 2);
    }
    text += padded.substr(0, padded.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string object_text(const Json& object, int indent) {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    const std::string label = fmt::format("{:{}}{}", "", indent, name);
    if (is_table(value)) {
      text += label + "\n" + table_text(value, indent + 2);
    } else if (value.is_object() && !value.empty()) {
      text += label + "\n" + object_text(value, indent + 2);
    } else {
      text += fmt::format("{:<{}} {}\n", label, kNameWidth, value.is_object() ? "none" : value_text(value));
    }
  }
  return text;
}

}  // namespace

Json inspect_folder(const std::filesystem::path& folder, InspectionDepth depth) {
  const auto has = [&](const char* name) { return std::filesystem::exists(folder / name); };
  if (has(kDatasetRecordFile)) return inspect_dataset(folder, depth);
  if (has(kManifestName) || step_of(folder.filename().string())) return inspect_checkpoint(folder, depth);
  if (has(kIndexManifestFile)) return inspect_index(folder, depth);
  if (std::filesystem::exists(RunFolder(folder).job()) || has_checkpoints(folder)) return inspect_run(folder, depth);
  throw DataError(
      concat(folder.string(), ": expected a dataset (", kDatasetRecordFile, "), a checkpoint (", kManifestName,
             "), an item index (index.json) or a run folder (job.textproto), found none of them"),
      ExitCode::kMissingInput);
}

std::string problems_in(const Json& object) {
  std::string problems;
  for (const auto& [name, value] : object.items()) {
    if (name == "problem") {
      problems += value.get<std::string>() + "\n";
    } else if (value.is_structured()) {
      problems += problems_in(value);
    }
  }
  return problems;
}

std::string inspection_text(const Json& object) { return object_text(object, 0); }

}  // namespace rondo
