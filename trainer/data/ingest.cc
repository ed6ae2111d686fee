#include "trainer/data/ingest.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "sharding/base/check.h"
#include "trainer/data/event_reader.h"
#include "trainer/data/event_writer.h"
#include "trainer/data/utf8.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr char kCatalogFile[] = "catalog.h5";
constexpr char kRejectedFile[] = "rejected.tsv";
constexpr char kAttributeFeature[] = "attribute";

/// A folder that is removed unless it was published.
class TemporaryFolder {
 public:
  TemporaryFolder(FileSystem& files, std::filesystem::path path) : files_(files), path_(std::move(path)) {
    files_.remove(path_);
    files_.make_folder(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!published_) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  void publish(const std::filesystem::path& target) {
    files_.sync(path_);
    files_.remove(target);
    files_.rename(path_, target);
    published_ = true;
  }

 private:
  FileSystem& files_;
  std::filesystem::path path_;
  bool published_ = false;
};

void refuse_existing(const IngestOptions& options) {
  std::error_code ignored;
  if (!std::filesystem::exists(options.out, ignored) || std::filesystem::is_empty(options.out, ignored)) return;
  const bool dataset = std::filesystem::exists(options.out / kDatasetRecordFile, ignored);
  if (dataset && options.overwrite) return;
  throw StorageError(concat(options.out.string(), " is not empty",
                            dataset ? ": it holds a dataset (--overwrite replaces it)"
                                    : " and holds no dataset; choose another folder"),
                     ExitCode::kCannotCreate);
}

/// Attributes of items: a JSON object from item to a list (of numbers or texts).
void read_attributes(const std::string& file, ItemCollector& items) {
  std::string text;
  ByteSource source(file);
  for (std::vector<char> block(1 << 20); const size_t count = source.read(block.data(), block.size());) {
    text.append(block.data(), count);
    if (text.size() > (size_t{1} << 31)) throw DataError(file + ": more than 2 GiB of attributes");
  }
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw DataError(file + ": expected one JSON object, item to list of attributes");
  for (const auto& [item, attributes] : object.items()) {
    if (!attributes.is_array()) throw DataError(concat(file, ": item \"", item, "\": expected a list of attributes"));
    std::vector<std::string> names;
    for (const auto& attribute : attributes) {
      names.push_back(attribute.is_string() ? attribute.get<std::string>() : attribute.dump());
    }
    const auto place = items.intern(item);
    if (!place) throw DataError(concat(file, ": item \"", item, "\" is no whole number"));
    items.describe(*place, {"", "", {{names.begin(), names.end()}}});
  }
}

std::vector<std::string> feature_names(const SchemaOptions& schema) {
  if (schema.preset == SourcePreset::kSequences) {
    return schema.attributes.empty() ? std::vector<std::string>{} : std::vector<std::string>{kAttributeFeature};
  }
  std::vector<std::string> names;
  for (const auto& feature : schema.catalog.features) names.push_back(feature.name);
  return names;
}

/// Place of each user in ascending order of keys.
std::vector<int32_t> ranks_by_key(const std::vector<uint64_t>& keys) {
  std::vector<int32_t> order(keys.size()), rank(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)]; });
  for (size_t i = 0; i < order.size(); ++i) rank[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
  return rank;
}

void read_sources(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  if (schema.preset == SourcePreset::kSequences) {
    read_sequences(schema, sink, progress);
    if (!schema.attributes.empty()) read_attributes(schema.attributes, sink.items);
  } else {
    if (!schema.catalog_file.paths.empty()) read_catalog(schema, sink, progress);
    read_events(schema, sink, progress);
  }
  sink.quarantine.check_fraction();
  if (sink.events.size() == 0) {
    throw DataError(concat("no events are left of ", sink.quarantine.rows(), " rows: ", sink.rows_filtered,
                           " were filtered out, ", sink.quarantine.rejected(), " rejected"));
  }
}

void write_events(IngestSink& sink, const std::filesystem::path& folder, DatasetRecord& record, Progress& progress) {
  EventWriter writer(folder, sink.items.items().keys());
  progress.begin("sort", sink.events.size(), "events");
  sink.events.visit_sorted(ranks_by_key(sink.users.keys()), [&](std::span<SpooledEvent> events) {
    const int32_t user = events.front().user;
    writer.add_user(sink.users.keys()[static_cast<size_t>(user)], sink.users.raw().at(user), events);
    progress.advance(writer.events() + writer.duplicates());
  });
  writer.close(sink.behaviours);
  progress.end();
  record.events = writer.events();
  record.duplicates_dropped = writer.duplicates();
}

}  // namespace

DatasetRecord ingest(const SchemaOptions& schema, const IngestOptions& options, Progress& progress) {
  validate(schema);
  refuse_existing(options);
  const auto files = make_posix_file_system();
  const auto parent = options.out.has_parent_path() ? options.out.parent_path() : std::filesystem::path(".");
  files->make_folder(parent);
  TemporaryFolder temporary(*files, concat(options.out.string(), ".tmp.", ::getpid()));
  const auto& folder = temporary.path();

  // Beside the folder until the end: a fatal fraction of rejects leaves it there to be read.
  const std::filesystem::path rejected = options.out.string() + ".rejected.tsv";

  ItemCollector items({schema.item_key, schema.salt, options.hash}, feature_names(schema));
  KeyDictionary users("user", {schema.user_key, schema.salt, options.hash});
  DatasetRecord record;
  {
    EventSpool spool(folder, options.memory_events);
    Quarantine quarantine(rejected, schema.max_rejected_fraction);
    IngestSink sink{items, users, spool, quarantine, record.behaviours};
    read_sources(schema, sink, progress);
    items.build().save(folder / kCatalogFile);
    write_events(sink, folder, record, progress);
    record.rows_read = quarantine.rows();
    record.rows_filtered = sink.rows_filtered;
    record.rejected = quarantine.by_reason();
  }
  files->rename(rejected, folder / kRejectedFile);
  record.schema_text = options.schema_text;
  record.split = options.split;
  record.users = users.size();
  record.items = items.items().size();
  for (const char* name : {kCatalogFile, kEventsFile}) record.digests[name] = sha256_of_file(folder / name);
  write_dataset_record(folder, record);
  temporary.publish(options.out);
  return record;
}

}  // namespace rondo
