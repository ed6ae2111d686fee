#include "trainer/data/dataset_record.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "proto/dataset.pb.h"
#include "sharding/base/check.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/schema_proto.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr int64_t kLongestRecord = 1 << 26;

using Counts = google::protobuf::RepeatedPtrField<proto::NamedCount>;
using Digests = google::protobuf::RepeatedPtrField<proto::FileDigest>;

void write_counts(const std::map<std::string, int64_t>& from, Counts& to) {
  for (const auto& [name, count] : from) {
    auto* added = to.Add();
    added->set_name(name);
    added->set_count(count);
  }
}

std::map<std::string, int64_t> read_counts(const Counts& from) {
  std::map<std::string, int64_t> to;
  for (const auto& entry : from) to[entry.name()] = entry.count();
  return to;
}

void write_digests(const std::map<std::string, std::string>& from, Digests& to) {
  for (const auto& [name, digest] : from) {
    auto* added = to.Add();
    added->set_name(name);
    added->set_sha256(digest);
  }
}

std::map<std::string, std::string> read_digests(const Digests& from) {
  std::map<std::string, std::string> to;
  for (const auto& entry : from) to[entry.name()] = entry.sha256();
  return to;
}

void write_window(const WindowRecord& from, proto::Window& to) {
  to.set_file(from.file);
  write_digests(from.sources, *to.mutable_source());
  to.set_rows_read(from.rows_read);
  to.set_rows_filtered(from.rows_filtered);
  to.set_duplicates_dropped(from.duplicates_dropped);
  write_counts(from.rejected, *to.mutable_rejected());
  to.set_events(from.events);
  to.set_first_time(from.first_time);
  to.set_last_time(from.last_time);
  if (from.examples > 0) to.set_examples(from.examples);
}

WindowRecord read_window(const proto::Window& from) {
  return {from.file(),          read_digests(from.source()), from.rows_read(),
          from.rows_filtered(), from.duplicates_dropped(),   read_counts(from.rejected()),
          from.events(),        from.first_time(),           from.last_time(),
          from.examples()};
}

proto::DatasetRecord to_message(const DatasetRecord& record) {
  proto::DatasetRecord to;
  to.set_format_version(kDatasetFormatVersion);
  schema_to_proto(record.schema, *to.mutable_schema());
  split_to_proto(record.split, *to.mutable_split());
  to.set_users(record.users);
  to.set_items(record.items);
  to.set_events(record.events);
  to.set_rows_read(record.rows_read);
  to.set_rows_filtered(record.rows_filtered);
  to.set_duplicates_dropped(record.duplicates_dropped);
  write_counts(record.rejected, *to.mutable_rejected());
  for (const auto& name : record.behaviours) to.add_behaviour(name);
  if (!record.vocabulary_sha256.empty()) to.set_vocabulary_sha256(record.vocabulary_sha256);
  write_digests(record.digests, *to.mutable_file());
  write_counts(record.features, *to.mutable_feature());
  for (const WindowRecord& window : record.windows) write_window(window, *to.add_window());
  if (record.examples > 0) to.set_examples(record.examples);
  for (const NamedCount& label : record.labels) {
    auto* added = to.add_label();
    added->set_name(label.name);
    added->set_count(label.count);
  }
  write_counts(record.parts, *to.mutable_part());
  return to;
}

DatasetRecord from_message(const proto::DatasetRecord& from) {
  DatasetRecord record;
  record.schema = schema_from_proto(from.schema());
  record.split = split_from_proto(from.split());
  record.users = from.users();
  record.items = from.items();
  record.events = from.events();
  record.rows_read = from.rows_read();
  record.rows_filtered = from.rows_filtered();
  record.duplicates_dropped = from.duplicates_dropped();
  record.rejected = read_counts(from.rejected());
  record.behaviours.assign(from.behaviour().begin(), from.behaviour().end());
  record.vocabulary_sha256 = from.vocabulary_sha256();
  record.digests = read_digests(from.file());
  record.features = read_counts(from.feature());
  for (const auto& window : from.window()) record.windows.push_back(read_window(window));
  record.examples = from.examples();
  for (const auto& label : from.label()) record.labels.push_back({label.name(), label.count()});
  record.parts = read_counts(from.part());
  return record;
}

/// Keeps the first complaint of the parser.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = concat(line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

void add_window(const WindowRecord& window, DatasetRecord& record) {
  record.events += window.events;
  record.examples += window.examples;
  record.rows_read += window.rows_read;
  record.rows_filtered += window.rows_filtered;
  record.duplicates_dropped += window.duplicates_dropped;
  for (const auto& [reason, rows] : window.rejected) record.rejected[reason] += rows;
  record.windows.push_back(window);
}

void write_dataset_record(const std::filesystem::path& dataset_folder, const DatasetRecord& record) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(to_message(record), &text);
  make_posix_file_system()->replace_file(dataset_folder / kDatasetRecordFile, text);
}

DatasetRecord read_dataset_record(const std::filesystem::path& dataset_folder) {
  const auto path = dataset_folder / kDatasetRecordFile;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    throw DataError(concat("no dataset in ", dataset_folder.string(), ": there is no ", kDatasetRecordFile,
                           " (`rondo ingest` makes one)"),
                    ExitCode::kMissingInput);
  }
  proto::DatasetRecord message;
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(read_file(path, kLongestRecord), &message)) {
    throw StorageError(concat(path.string(), ":", error.text()));
  }
  if (message.format_version() != kDatasetFormatVersion) {
    throw StorageError(concat(path.string(), ": format version ", message.format_version(), ", this build reads ",
                              kDatasetFormatVersion, "; ingest the source again"));
  }
  return from_message(message);
}

}  // namespace rondo
