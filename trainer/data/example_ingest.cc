#include "trainer/data/example_ingest.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/dataset_output.h"
#include "trainer/data/example_collector.h"
#include "trainer/data/source_files.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

/// Files, and what their examples are for.
struct PartFiles {
  ExamplePart part;
  FileOptions files;
};

/// Training comes first: held-out examples have its classes.
std::vector<PartFiles> parts_of(const SchemaOptions& schema) {
  const ExampleColumns& columns = schema.examples;
  const bool all_named = !columns.valid_paths.empty() && !columns.test_paths.empty();
  std::vector<PartFiles> parts{{all_named ? ExamplePart::kTrain : ExamplePart::kDrawn, schema.example_file}};
  const auto add = [&](ExamplePart part, const std::vector<std::string>& paths) {
    if (paths.empty()) return;
    parts.push_back({part, schema.example_file});
    parts.back().files.paths = paths;
  };
  add(ExamplePart::kValid, columns.valid_paths);
  add(ExamplePart::kTest, columns.test_paths);
  return parts;
}

void require_classes(const TextExamples& examples, const Quarantine& quarantine, int64_t filtered) {
  if (examples.classes() >= 2) return;
  if (examples.size() == 0) {
    throw DataError(concat("no examples are left of ", quarantine.rows(), " rows: ", filtered, " were filtered out, ",
                           quarantine.rejected(), " rejected"));
  }
  throw DataError(concat("all ", examples.size(), " examples have the label \"", examples.label_names.front(),
                         "\": there is nothing to tell apart"));
}

void count(const TextExamples& examples, DatasetRecord& record) {
  for (const std::string& name : examples.label_names) record.labels.push_back({name, 0});
  for (int64_t i = 0; i < examples.size(); ++i) {
    ++record.labels[static_cast<size_t>(examples.labels[static_cast<size_t>(i)])].count;
    ++record.parts[name_of(examples.parts[static_cast<size_t>(i)])];
  }
}

}  // namespace

DatasetRecord ingest_examples(const SchemaOptions& schema, const IngestOptions& options, Progress& progress) {
  if (options.append) {
    throw ConfigError("--append adds to the dataset of a shop; ingest texts with classes anew, with --overwrite");
  }
  const auto files = make_posix_file_system();
  DatasetOutput output(*files, options.out, options.overwrite ? OutputMode::kOverwrite : OutputMode::kNew,
                       schema.max_rejected_fraction);
  Quarantine& quarantine = output.quarantine();
  WindowRecord window;
  ExampleCollector collector(schema);
  for (const PartFiles& part : parts_of(schema)) {
    collector.begin_part(part.part);
    SourceFiles source(part.files, collector.columns(), {quarantine, window.sources}, progress);
    source.for_each_record([&](const SourceRecord& row) { return collector.read(row); });
  }
  quarantine.check_fraction();
  window.rows_filtered = collector.rows_filtered();
  const TextExamples examples = std::move(collector).build();
  require_classes(examples, quarantine, window.rows_filtered);
  window.file = examples_file(0);
  examples.save(output.folder() / window.file);

  window.rows_read = quarantine.rows();
  window.rejected.insert(quarantine.by_reason().begin(), quarantine.by_reason().end());
  window.examples = examples.size();
  DatasetRecord record;
  record.schema = schema;
  record.split = options.split;
  add_window(window, record);
  count(examples, record);
  record.digests[window.file] = sha256_of_file(output.folder() / window.file);
  output.publish(record);
  return record;
}

}  // namespace rondo
