#include "trainer/data/ingest.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "sharding/base/check.h"
#include "trainer/data/catalog.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/dataset_output.h"
#include "trainer/data/event_cleaning.h"
#include "trainer/data/event_log.h"
#include "trainer/data/event_writer.h"
#include "trainer/data/example_ingest.h"
#include "trainer/data/source_reading.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

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

OutputMode mode_of(const IngestOptions& options) {
  if (options.append) return OutputMode::kAppend;
  return options.overwrite ? OutputMode::kOverwrite : OutputMode::kNew;
}

/// One call of `ingest`.
class Ingest {
 public:
  Ingest(const SchemaOptions& schema, const IngestOptions& options)
      : schema_(schema),
        options_(options),
        items_({schema.item_key, schema.salt, options.hash}, feature_names(schema)),
        users_("user", {schema.user_key, schema.salt, options.hash}) {
    if (options.append) restore();
  }

  DatasetRecord run(Progress& progress) {
    DatasetOutput output(*files_, options_.out, mode_of(options_), schema_.max_rejected_fraction);
    folder_ = output.folder();
    read_and_write(output.quarantine(), progress);
    finish_record();
    carry_over();
    output.publish(record_);
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
      const bool is_made = entry.path().filename() == kDatasetRecordFile || entry.path().filename() == kRejectedFile;
      if (is_derived || is_made || std::filesystem::exists(target)) continue;
      std::filesystem::create_hard_link(entry.path(), target, error);
      if (error) std::filesystem::copy(entry.path(), target, std::filesystem::copy_options::recursive, error);
      if (error) throw StorageError(concat("cannot copy ", entry.path().string(), ": ", error.message()));
    }
  }

  const SchemaOptions& schema_;
  const IngestOptions& options_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
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
  if (reads_examples(schema)) return ingest_examples(schema, options, progress);
  return Ingest(schema, options).run(progress);
}

}  // namespace rondo
