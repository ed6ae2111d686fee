#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/record_columns.h"
#include "trainer/data/schema.h"
#include "trainer/data/text_examples.h"

namespace rondo {

/// The example mapping of a schema, applied to records; made into TextExamples at the end. Holds all texts.
class ExampleCollector {
 public:
  /// Keeps a reference.
  explicit ExampleCollector(const SchemaOptions& schema);

  /// To be asked of the files.
  const std::vector<std::string>& columns() const { return set_.columns(); }

  /// What the records that follow are for. Held-out ones may have no class that was not there before.
  void begin_part(ExamplePart part) { part_ = part; }

  /// Why the record is rejected; nothing when it was taken or filtered out. A rejected record leaves no trace.
  /// Throws DataError when the label column has far too many different values for one of classes.
  std::string_view read(const SourceRecord& record);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  int64_t rows_filtered() const { return rows_filtered_; }

  /// Classes in their order; those that a schema names and no example has are left out.
  TextExamples build() &&;

 private:
  const std::string& joined(const SourceRecord& record, const std::vector<size_t>& columns);
  std::string_view label_name(const SourceRecord& record) const;
  std::vector<std::string> ordered_labels() const;

  const SchemaOptions& schema_;
  ColumnSet set_;
  std::vector<size_t> text_columns_, second_columns_;
  size_t label_;
  int weight_, group_;  // -1: none
  RecordFilter filter_;
  ExamplePart part_ = ExamplePart::kTrain;
  std::string joined_;
  std::map<std::string, int32_t, std::less<>> places_;  // of label names, in order of first sight
  std::vector<int32_t> labels_;                         // those places
  TextExamples examples_;
  int64_t rows_filtered_ = 0;
};

}  // namespace rondo
