#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/base/progress.h"
#include "trainer/data/event_spool.h"
#include "trainer/data/item_collector.h"
#include "trainer/data/quarantine.h"
#include "trainer/data/row_filter.h"
#include "trainer/data/schema.h"
#include "trainer/data/source_file.h"
#include "trainer/data/time_format.h"

namespace rondo {

/// Where the rows of a source go.
struct IngestSink {
  ItemCollector& items;
  KeyDictionary& users;
  EventSpool& events;
  Quarantine& quarantine;
  std::vector<std::string>& behaviours;  // names, in order of first sight
  int64_t rows_filtered = 0;
};

/// Columns asked of a file, each once.
class ColumnSet {
 public:
  /// Index of the column among those asked for; -1 for an empty name.
  int add(const std::string& column);
  const std::vector<std::string>& columns() const { return columns_; }

 private:
  std::vector<std::string> columns_;
};

/// Title, texts and features of an item in the records of a file.
class ItemFields {
 public:
  ItemFields(const CatalogColumns& columns, ColumnSet& set);

  /// Views live as long as the record and until the next call.
  const ItemRow& read(const SourceRecord& record);

 private:
  int title_;
  std::vector<int> texts_;
  std::vector<std::pair<int, std::string>> features_;  // column, separator
  std::string joined_;
  ItemRow row_;
};

/// Reads the catalogue file(s) into the sink's items.
void read_catalog(const SchemaOptions& schema, IngestSink& sink, Progress& progress);

/// Reads the event file(s) of a generic schema into the sink.
void read_events(const SchemaOptions& schema, IngestSink& sink, Progress& progress);

/// Reads the files of the preset kSequences into the sink.
void read_sequences(const SchemaOptions& schema, IngestSink& sink, Progress& progress);

/// Splits at a separator; an empty separator, or an empty text, gives the text itself.
std::vector<std::string_view> split_list(std::string_view text, std::string_view separator);

}  // namespace rondo
