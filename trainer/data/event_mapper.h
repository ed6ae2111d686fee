#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/ingest_sink.h"
#include "trainer/data/item_columns.h"
#include "trainer/data/record_columns.h"
#include "trainer/data/time_reader.h"

namespace rondo {

/// The event mapping of a schema, applied to records: each becomes one event an item of its row.
class EventMapper {
 public:
  /// Keeps references.
  EventMapper(const SchemaOptions& schema, IngestSink& sink);

  /// To be asked of the files.
  const std::vector<std::string>& columns() const { return set_.columns(); }

  /// Why the record is rejected; nothing when it was taken or filtered out. A rejected record leaves no trace.
  std::string_view read(const SourceRecord& record);

 private:
  /// A raw string and its row key.
  struct KeyedText {
    uint64_t key;
    std::string_view raw;
  };

  std::string_view read_items(const SourceRecord& record);
  std::string_view read_common(const SourceRecord& record, SpooledEvent& event);
  std::string_view behaviour_name(const SourceRecord& record) const;
  std::optional<uint8_t> behaviour_index(std::string_view name);
  void add_events(const SourceRecord& record, SpooledEvent event);

  const SchemaOptions& schema_;
  IngestSink& sink_;
  TimeReader times_;
  ColumnSet set_;
  size_t user_;
  int time_, behaviour_, value_, basket_;  // -1: none
  std::vector<size_t> item_columns_;
  RecordFilter filter_;
  bool describes_items_;
  ItemColumns descriptions_;
  std::vector<std::string_view> elements_;
  std::vector<KeyedText> items_;  // of the record
};

}  // namespace rondo
