#include <algorithm>
#include <nlohmann/json.hpp>

#include "launch/inspection.h"
#include "sharding/base/check.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/eval/index_manifest.h"
#include "trainer/storage/digest.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

/// Names of dense tensors that are state of the optimizer begin so.
constexpr std::string_view kOptimizerPrefix = "optimizer.";
constexpr int64_t kLongestErrorFile = 1 << 20;

int64_t elements_of(const ManifestTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;
  return elements;
}

Json table_json(const ManifestTable& table) {
  int64_t rows = 0;
  for (const ManifestPart& part : table.parts) rows += part.rows;
  return {{"name", table.name},
          {"rows", rows},
          {"dim", table.dim},
          {"type", table.row_type},
          {"keys", table.key_space},
          {"placement", table.placement.empty() ? "(not said)" : table.placement},
          {"files", table.parts.size()},
          {"buckets", table.buckets},
          {"optimizer", table.optimizer},
          {"state_width", table.state_width}};
}

Json manifest_json(const Manifest& manifest) {
  Json tables = Json::array(), tensors = Json::array(), files = Json::array();
  for (const ManifestTable& table : manifest.tables) tables.push_back(table_json(table));
  int64_t parameters = 0, state = 0;
  for (const ManifestTensor& tensor : manifest.tensors) {
    const bool is_state = tensor.name.starts_with(kOptimizerPrefix);
    (is_state ? state : parameters) += elements_of(tensor);
    if (!is_state) tensors.push_back({{"name", tensor.name}, {"type", tensor.dtype}, {"shape", tensor.shape}});
  }
  for (const ManifestFile& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return {{"step", manifest.step},
          {"world", manifest.world},
          {"epoch", manifest.cursor.epoch},
          {"next_example", manifest.cursor.next},
          {"seed", manifest.seed},
          {"job_digest", manifest.job_digest},
          {"dense_parameters", parameters},
          {"dense_optimizer_state", state},
          {"tables", tables},
          {"parameters", tensors},
          {"files", files}};
}

Json checkpoint_json(const std::filesystem::path& folder, const CheckpointDescription& checkpoint,
                     InspectionDepth depth) {
  Json out{{"kind", "checkpoint"},
           {"folder", folder.string()},
           {"is_latest", checkpoint.is_latest},
           {"bytes", checkpoint.bytes}};
  if (checkpoint.manifest) out.update(manifest_json(*checkpoint.manifest));
  if (depth == InspectionDepth::kDigests) out["digests_verified"] = checkpoint.problem.empty();
  if (!checkpoint.problem.empty()) out["problem"] = checkpoint.problem;
  return out;
}

/// The failures that ranks left behind, by file name; what cannot be read is named.
Json errors_json(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code none;  // then there is nothing to show
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  Json errors = Json::array();
  for (const auto& path : paths) {
    Json error = Json::parse(read_file(path, kLongestErrorFile), nullptr, /*allow_exceptions=*/false);
    errors.push_back(error.is_object() ? std::move(error) : Json{{"message", path.string() + " cannot be read"}});
  }
  return errors;
}

/// Throws StorageError unless the file is there and, if asked for, as it was written.
void verify_part(const std::filesystem::path& path, const std::string& sha256, InspectionDepth depth) {
  if (!std::filesystem::exists(path)) throw StorageError(path.string() + " is missing");
  if (depth != InspectionDepth::kDigests || sha256_of_file(path) == sha256) return;
  throw StorageError(path.string() + " is not what was written");
}

}  // namespace

Json inspect_checkpoint(const std::filesystem::path& folder, InspectionDepth depth) {
  return checkpoint_json(folder, describe_checkpoint(folder, depth == InspectionDepth::kDigests), depth);
}

Json inspect_run(const std::filesystem::path& folder, InspectionDepth depth) {
  const RunFolder run(folder);
  const bool is_run = std::filesystem::exists(run.job());
  const auto root = is_run ? run.checkpoints() : folder;
  Json list = Json::array(), newest;
  for (const auto& checkpoint : describe_checkpoints(root, depth == InspectionDepth::kDigests)) {
    Json entry{{"name", checkpoint.name}, {"is_latest", checkpoint.is_latest}, {"bytes", checkpoint.bytes}};
    if (!checkpoint.problem.empty()) entry["problem"] = checkpoint.problem;
    list.push_back(std::move(entry));
    if (newest.is_null() && checkpoint.problem.empty()) {
      newest = checkpoint_json(root / checkpoint.name, checkpoint, depth);
    }
  }
  Json out{{"kind", is_run ? "run" : "checkpoints"}, {"folder", folder.string()}};
  if (is_run) {
    out["job"] = run.job().string();
    out["index"] = std::filesystem::exists(run.index()) ? inspect_index(run.index(), depth) : Json(nullptr);
    out["errors"] = errors_json(run.root() / "error");
  }
  out["checkpoints"] = std::move(list);
  out["checkpoint"] = std::move(newest);
  return out;
}

Json inspect_index(const std::filesystem::path& folder, InspectionDepth depth) {
  Json out{{"kind", "index"}, {"folder", folder.string()}};
  try {
    const IndexManifest index = read_manifest(folder);
    out.update({{"items", index.items},
                {"dim", index.dim},
                {"tower", index.stamp.tower},
                {"tokenizer", index.stamp.tokenizer},
                {"catalogue", index.stamp.catalogue},
                {"files", Json::array()}});
    for (const IndexPart& part : index.parts) {
      out["files"].push_back({{"name", part.file}, {"items", part.items}, {"sha256", part.sha256}});
      verify_part(folder / part.file, part.sha256, depth);
    }
  } catch (const Error& error) {
    out["problem"] = error.what();
  }
  if (depth == InspectionDepth::kDigests) out["digests_verified"] = !out.contains("problem");
  return out;
}

}  // namespace rondo
