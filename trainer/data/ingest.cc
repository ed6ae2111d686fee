#include "trainer/data/ingest.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "sharding/base/check.h"
#include "trainer/data/catalog.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/event_cleaning.h"
#include "trainer/data/event_log.h"
#include "trainer/data/event_writer.h"
#include "trainer/data/output_folder.h"
#include "trainer/data/source_reading.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

void check_output(const IngestOptions& options) {
  std::error_code ignored;
  if (options.append) return;  // reading the record says what is wrong
  const auto& out = options.out;
  if (!std::filesystem::exists(out, ignored)) return;
  if (!std::filesystem::is_directory(out, ignored)) {
    throw StorageError(concat(out.string(), " is a file, expected a folder to make"), ExitCode::kCannotCreate);
  }
  if (std::filesystem::is_empty(out, ignored)) return;
  const bool is_dataset = std::filesystem::exists(out / kDatasetRecordFile, ignored);
  if (is_dataset && options.overwrite) return;
  throw StorageError(concat(out.string(), is_dataset ? " holds a dataset; --overwrite replaces it, --append adds to it"
                                                     : " is not empty and holds no dataset; choose another folder"),
                     ExitCode::kCannotCreate);
}

/// Throws ConfigError unless rows of `added` can join those of `kept`.
void check_fits(const SchemaOptions& kept, const SchemaOptions& added) {
  const auto require = [](bool same, const char* field) {
    if (!same) throw ConfigError(concat("schema.", field, " is not that of the dataset that is appended to"));
  };
  require(kept.user_key == added.user_key, "user_key");
  require(kept.item_key == added.item_key, "item_key");
  require(kept.salt == added.salt, "salt");
  require(feature_names(kept) == feature_names(added), "catalog.feature");
  require((kept.events.time_kind == TimeKind::kOrder) == (added.events.time_kind == TimeKind::kOrder),
          "events.time_format");
}

/// Throws DataError for a source of events that the dataset holds already.
void check_is_new(const DatasetRecord& record, const SchemaOptions& schema) {
  for (const auto& path : schema.event_file.paths) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) continue;  // reading it says so
    const std::string digest = sha256_of_file(path);
    for (const WindowRecord& window : record.windows) {
      for (const auto& [source, source_digest] : window.sources) {
        if (source_digest != digest) continue;
        throw DataError(concat(path, " is in the dataset already: ", window.file, " was made from ", source,
                               ", which has the same content"));
      }
    }
  }
}

/// One call of `ingest`.
class Ingest {
 public:
  Ingest(const SchemaOptions& schema, const IngestOptions& options)
      : schema_(schema),
        options_(options),
        rejected_path_(options.out.string() + ".rejected.tsv"),
        items_({schema.item_key, schema.salt, options.hash}, feature_names(schema)),
        users_("user", {schema.user_key, schema.salt, options.hash}) {
    if (options.append) restore();
  }

  DatasetRecord run(Progress& progress) {
    const auto parent = std::filesystem::absolute(options_.out).parent_path();
    files_->make_folder(parent);
    OutputFolder output(*files_, options_.out);
    folder_ = output.path();
    begin_rejected();
    Quarantine quarantine(rejected_path_, schema_.max_rejected_fraction);
    try {
      read_and_write(quarantine, progress);
    } catch (...) {
      if (quarantine.rejected() == 0) files_->remove(rejected_path_);
      throw;
    }
    files_->rename(rejected_path_, folder_ / kRejectedFile);
    files_->sync(folder_ / kRejectedFile);
    finish_record();
    carry_over();
    write_dataset_record(folder_, record_);
    output.publish();
    return record_;
  }

 private:
  void restore() {
    record_ = read_dataset_record(options_.out);
    check_fits(record_.schema, schema_);
    check_is_new(record_, schema_);
    items_.restore(Catalog::open(options_.out));
    for (const auto& file : events_files_of(options_.out)) {
      const WindowUsers users = read_window_users(file);
      users_.restore(users.keys, users.raw);
    }
  }

  void begin_rejected() {
    files_->remove(rejected_path_);
    const auto old = options_.out / kRejectedFile;
    std::error_code ignored;
    if (options_.append && std::filesystem::exists(old, ignored)) std::filesystem::copy_file(old, rejected_path_);
  }

  void read_and_write(Quarantine& quarantine, Progress& progress) {
    EventSpool spool(folder_, options_.memory_events);
    IngestSink sink{items_, users_, spool, quarantine};
    if (!record_.windows.empty()) sink.next_ordinal = record_.windows.back().last_time + 1;
    read_sources(schema_, sink, progress);
    window_.file = events_file(static_cast<int>(record_.windows.size()));
    write_events(sink, progress);
    const Catalog catalog = items_.build();
    catalog.save(folder_ / kCatalogFile);
    for (const BagColumn& bag : catalog.bags) {
      record_.features[bag.name] = static_cast<int64_t>(bag.value_keys.size());
    }
    quarantine.flush();
    window_.sources = sink.sources;
    window_.rows_read = quarantine.rows();
    window_.rows_filtered = sink.rows_filtered;
    window_.rejected.insert(quarantine.by_reason().begin(), quarantine.by_reason().end());
  }

  std::vector<int32_t> users_by_key() const {
    std::vector<int32_t> users(static_cast<size_t>(users_.size()));
    std::iota(users.begin(), users.end(), 0);
    std::sort(users.begin(), users.end(), [&](int32_t a, int32_t b) {
      return users_.keys()[static_cast<size_t>(a)] < users_.keys()[static_cast<size_t>(b)];
    });
    return users;
  }

  void write_events(IngestSink& sink, Progress& progress) {
    EventWriter writer(folder_ / window_.file, items_.keys());
    progress.begin("sort", sink.events.size(), "events");
    int64_t done = 0;
    sink.events.visit_sorted(users_by_key(), [&](int32_t user, std::span<SpooledEvent> events) {
      const auto kept = schema_.events.join_overlaps ? join_overlapping_rows(events) : drop_duplicate_rows(events);
      writer.add_user(users_.keys()[static_cast<size_t>(user)], users_.raw().at(user), kept);
      progress.advance(done += static_cast<int64_t>(events.size()));
    });
    writer.close({sink.behaviours, schema_.events.time_kind == TimeKind::kOrder});
    progress.end();
    window_.events = writer.events();
    window_.duplicates_dropped = sink.events.size() - writer.events();
    window_.first_time = writer.first_time();
    window_.last_time = writer.last_time();
    for (const auto& name : sink.behaviours) {
      const auto& known = record_.behaviours;
      if (std::find(known.begin(), known.end(), name) == known.end()) record_.behaviours.push_back(name);
    }
  }

  void finish_record() {
    if (record_.windows.empty()) {
      record_.schema = schema_;
      record_.split = options_.split;
    }
    record_.users = users_.size();
    record_.items = items_.size();
    add_window(window_, record_);
    for (const std::string& name : {std::string(kCatalogFile), window_.file}) {
      record_.digests[name] = sha256_of_file(folder_ / name);
    }
  }

  /// What else the dataset has: events of earlier windows, a vocabulary.
  void carry_over() const {
    if (!options_.append) return;
    for (const auto& entry : std::filesystem::directory_iterator(options_.out)) {
      const auto target = folder_ / entry.path().filename();
      const bool is_derived = entry.path().filename().string().starts_with("tokens-");
      std::error_code error;
      if (is_derived || entry.path().filename() == kDatasetRecordFile || std::filesystem::exists(target)) continue;
      std::filesystem::create_hard_link(entry.path(), target, error);
      if (error) std::filesystem::copy(entry.path(), target, std::filesystem::copy_options::recursive, error);
      if (error) throw StorageError(concat("cannot copy ", entry.path().string(), ": ", error.message()));
    }
  }

  const SchemaOptions& schema_;
  const IngestOptions& options_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  std::filesystem::path rejected_path_;
  std::filesystem::path folder_;  // that is being filled
  ItemCollector items_;
  KeyDictionary users_;
  DatasetRecord record_;
  WindowRecord window_;
};

}  // namespace

void validate(const IngestOptions& options) {
  if (options.out.empty()) throw ConfigError("ingest.out must name a folder");
  if (options.append && options.overwrite) throw ConfigError("ingest.append and ingest.overwrite exclude each other");
  if (options.memory_events < 1) {
    throw ConfigError(concat("ingest.memory_events must be at least 1, got ", options.memory_events));
  }
}

DatasetRecord ingest(const SchemaOptions& schema, const IngestOptions& options, Progress& progress) {
  validate(options);
  validate(schema);
  check_output(options);
  return Ingest(schema, options).run(progress);
}

}  // namespace rondo
