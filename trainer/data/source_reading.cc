#include "trainer/data/source_reading.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "trainer/data/event_mapper.h"
#include "trainer/data/source_files.h"

namespace rondo {
namespace {

constexpr int64_t kMostAttributeBytes = int64_t{1} << 31;

SourceLedger ledger_of(IngestSink& sink) { return {sink.quarantine, sink.sources}; }

void read_catalog(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  ColumnSet set;
  const auto item_column = static_cast<size_t>(set.add(schema.catalog.item));
  ItemColumns descriptions(schema.catalog, set);
  const RecordFilter filter(schema.catalog_filters, set);
  SourceFiles files(schema.catalog_file, set.columns(), ledger_of(sink), progress);
  files.for_each_record([&](const SourceRecord& record) -> std::string_view {
    if (!filter.holds_for(record)) {
      ++sink.rows_filtered;
      return {};
    }
    const auto item = sink.items.key_of(record.fields[item_column]);
    if (!item.rejected.empty()) return item.rejected;
    descriptions.describe(record, sink.items.intern(item.key, record.fields[item_column]), sink.items);
    return {};
  });
}

void read_events(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  EventMapper mapper(schema, sink);
  SourceFiles files(schema.event_file, mapper.columns(), ledger_of(sink), progress);
  files.for_each_record([&](const SourceRecord& record) { return mapper.read(record); });
}

/// Lines of kSequences.
class SequenceMapper {
 public:
  explicit SequenceMapper(IngestSink& sink) : sink_(sink) {}

  std::string_view read(std::string_view line) {
    words_.clear();
    append_elements(line, " ", words_);
    if (words_.size() < 2) return "a user without items";
    const auto user = sink_.users.key_of(words_.front());
    if (!user.rejected.empty()) return user.rejected;
    item_keys_.clear();
    for (size_t i = 1; i < words_.size(); ++i) {
      const auto item = sink_.items.key_of(words_[i]);
      if (!item.rejected.empty()) return item.rejected;
      item_keys_.push_back(item.key);
    }
    SpooledEvent event;
    event.user = sink_.users.intern(user.key, words_.front());
    if (!is_first_line_of(event.user)) return "user has a line already";
    for (size_t i = 1; i < words_.size(); ++i) {
      event.item = sink_.items.intern(item_keys_[i - 1], words_[i]);
      event.time = event.basket = sink_.next_ordinal++;
      sink_.events.add(event);
    }
    return {};
  }

 private:
  bool is_first_line_of(int32_t user) {
    const auto place = static_cast<size_t>(user);
    if (place >= has_line_.size()) has_line_.resize(place + 1, false);
    const bool is_first = !has_line_[place];
    has_line_[place] = true;
    return is_first;
  }

  IngestSink& sink_;
  std::vector<std::string_view> words_;
  std::vector<uint64_t> item_keys_;
  std::vector<bool> has_line_;  // by place of the user
};

void read_sequences(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  FileOptions lines = schema.event_file;
  lines.header = false;
  lines.quoted = false;
  lines.delimiter = '\x1E';  // in no line: one field a line
  sink.behaviours.assign(1, schema.events.behaviour_constant);
  SequenceMapper mapper(sink);
  const std::vector<std::string> whole_line = {"1"};
  SourceFiles files(lines, whole_line, ledger_of(sink), progress);
  files.for_each_record([&](const SourceRecord& record) { return mapper.read(record.fields.front()); });
}

std::string read_whole(const std::string& file, IngestSink& sink) {
  ByteSource source(file);
  std::string text;
  std::vector<char> block(1 << 20);
  while (const size_t count = source.read(block)) {
    text.append(block.data(), count);
    if (source.unpacked() > kMostAttributeBytes) throw DataError(file + ": more than 2 GiB of attributes");
  }
  sink.sources[source.path()] = source.digest();
  return text;
}

/// Attributes of items: a JSON object from item to a list of numbers or texts.
void read_attributes(const std::string& file, IngestSink& sink) {
  const auto object = nlohmann::json::parse(read_whole(file, sink), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw DataError(file + ": expected one JSON object, from item to list of attributes");
  for (const auto& [raw, attributes] : object.items()) {
    const auto item = sink.items.key_of(raw);
    if (!item.rejected.empty()) throw DataError(concat(file, ": \"", raw, "\": ", item.rejected));
    if (!attributes.is_array()) throw DataError(concat(file, ": \"", raw, "\": expected a list of attributes"));
    std::vector<std::string> names;
    for (const auto& attribute : attributes) {
      names.push_back(attribute.is_string() ? attribute.get<std::string>() : attribute.dump());
    }
    const std::vector<std::string_view> values(names.begin(), names.end());
    const int32_t place = sink.items.intern(item.key, raw);
    if (sink.items.lacks_feature(place, 0)) sink.items.set_feature(place, 0, values);
  }
}

}  // namespace

void read_sources(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  if (schema.preset == SourcePreset::kSequences) {
    read_sequences(schema, sink, progress);
    if (!schema.attributes.empty()) read_attributes(schema.attributes, sink);
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

}  // namespace rondo
