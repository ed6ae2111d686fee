#include <nlohmann/json.hpp>

#include "launch/inspection.h"
#include "sharding/base/check.h"
#include "sharding/base/number_text.h"
#include "trainer/data/dataset_description.h"
#include "trainer/data/text_examples.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/storage/digest.h"
#include "trainer/tokenizer/vocabulary.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(KeyKind kind) { return kind == KeyKind::kText ? "text" : "whole number"; }

const char* name_of(SourcePreset preset) {
  switch (preset) {
    case SourcePreset::kNone:
      return "none";
    case SourcePreset::kOnlineRetail:
      return "online_retail";
    case SourcePreset::kSequences:
      return "sequences";
  }
  return "";
}

/// A time of the log: microseconds UTC as text, an ordinal as the number that it is.
Json time_json(const DatasetDescription& dataset, int64_t time) {
  return dataset.time_is_order ? Json(time) : Json(utc_text(time / 1'000'000));
}

Json schema_of_examples_json(const SchemaOptions& schema) {
  const ExampleColumns& columns = schema.examples;
  return {{"example_files", schema.example_file.paths},
          {"valid_files", columns.valid_paths},
          {"test_files", columns.test_paths},
          {"text", columns.texts},
          {"second_text", columns.second_texts},
          {"label", columns.label},
          {"weight", columns.weight.empty() ? "(1)" : columns.weight},
          {"group", columns.group.empty() ? "(equal texts)" : columns.group}};
}

/// What decides how a later window must look, and what the keys are made of.
Json schema_json(const SchemaOptions& schema) {
  Json items = Json::array(), features = Json::object();
  for (const ColumnOptions& item : schema.events.items) items.push_back(item.column);
  for (const FeatureOptions& feature : schema.catalog.features) features[feature.name] = feature.column.column;
  return {{"preset", name_of(schema.preset)},
          {"event_files", schema.event_file.paths},
          {"user", schema.events.user},
          {"item", items},
          {"time", schema.events.time},
          {"behaviour", schema.events.behaviour.empty() ? "(constant)" : schema.events.behaviour},
          {"catalog_files", schema.catalog_file.paths},
          {"title", schema.catalog.title},
          {"text", schema.catalog.texts},
          {"features", features},
          {"user_key", name_of(schema.user_key)},
          {"item_key", name_of(schema.item_key)},
          {"salt", schema.salt}};
}

Json split_json(const SplitOptions& split) {
  Json out{{"kind", name_of(split.kind)}, {"repeats", split.repeats == Repeats::kDrop ? "drop" : "keep_unmasked"}};
  const bool by_fraction = split.kind == SplitKind::kRandom || split.kind == SplitKind::kGlobalTime;
  if (by_fraction) {
    out["valid_fraction"] = split.valid_fraction;
    out["test_fraction"] = split.test_fraction;
  }
  if (split.kind != SplitKind::kGlobalTime) out["min_user_events"] = split.min_user_events;
  if (split.kind == SplitKind::kRandom) out["seed"] = split.seed;
  return out;
}

Json windows_json(const DatasetDescription& dataset) {
  Json windows = Json::array();
  for (const WindowRecord& window : dataset.record.windows) {
    int64_t rejected = 0;
    for (const auto& [reason, rows] : window.rejected) rejected += rows;
    windows.push_back({{"file", window.file},
                       {"events", window.events},
                       {"first_time", time_json(dataset, window.first_time)},
                       {"last_time", time_json(dataset, window.last_time)},
                       {"rows_read", window.rows_read},
                       {"rows_rejected", rejected},
                       {"sources", window.sources.size()}});
  }
  return windows;
}

Json files_json(const std::map<std::string, std::string>& digests) {
  Json files = Json::array();
  for (const auto& [name, digest] : digests) files.push_back({{"name", name}, {"sha256", digest}});
  return files;
}

/// Its vocab.txt; null without one. `problem`: what is wrong with it.
Json vocabulary_json(const std::filesystem::path& folder, const DatasetRecord& record, std::string& problem) {
  if (record.vocabulary_sha256.empty()) return nullptr;
  Json out{{"sha256", record.vocabulary_sha256}};
  const auto path = folder / kVocabularyFile;
  try {
    if (sha256_of_file(path) != record.vocabulary_sha256) {
      throw StorageError(concat(path.string(), " is not the vocabulary that was learned"));
    }
    out["entries"] = Vocabulary::read(path).size();
  } catch (const Error& error) {
    problem = error.what();
  }
  return out;
}

/// What a dataset of texts with classes says of itself.
Json examples_json(const DatasetRecord& record) {
  Json labels = Json::object();
  for (const NamedCount& label : record.labels) labels[label.name] = label.count;
  Json split = nullptr;
  if (record.parts.contains(name_of(ExamplePart::kDrawn))) {
    split = {{"valid_fraction", record.split.valid_fraction},
             {"test_fraction", record.split.test_fraction},
             {"seed", record.split.seed}};
  }
  return {{"examples", record.examples},
          {"labels", labels},
          {"parts", record.parts},
          {"split_of_drawn", split},
          {"schema", schema_of_examples_json(record.schema)}};
}

/// What the dataset of a shop says of itself.
Json shop_json(const DatasetDescription& dataset) {
  const DatasetRecord& record = dataset.record;
  return {{"users", record.users},
          {"items", record.items},
          {"events", record.events},
          {"first_time", time_json(dataset, dataset.first_time)},
          {"last_time", time_json(dataset, dataset.last_time)},
          {"behaviours", record.behaviours},
          {"features", record.features},
          {"split", split_json(record.split)},
          {"schema", schema_json(record.schema)},
          {"windows", windows_json(dataset)}};
}

}  // namespace

Json inspect_dataset(const std::filesystem::path& folder, InspectionDepth depth) {
  const DatasetDescription dataset = describe_dataset(folder);
  const DatasetRecord& record = dataset.record;
  std::string problem;
  Json vocabulary = vocabulary_json(folder, record, problem);
  try {
    if (depth == InspectionDepth::kDigests) verify_dataset(folder);
  } catch (const StorageError& error) {
    problem = error.what();
  }
  Json out{{"kind", "dataset"}, {"folder", folder.string()}, {"bytes", dataset.bytes}};
  out.update(record.examples > 0 ? examples_json(record) : shop_json(dataset));
  out.update({{"rows_read", record.rows_read},
              {"rows_filtered", record.rows_filtered},
              {"duplicates_dropped", record.duplicates_dropped},
              {"rows_rejected", dataset.rows_rejected},
              {"rejected", record.rejected},
              {"vocabulary", std::move(vocabulary)},
              {"files", files_json(record.digests)}});
  if (depth == InspectionDepth::kDigests) out["digests_verified"] = problem.empty();
  if (!problem.empty()) out["problem"] = problem;
  return out;
}

}  // namespace rondo
