#include "trainer/data/example_collector.h"

#include <algorithm>
#include <cmath>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "trainer/data/row_filter.h"

namespace rondo {
namespace {

constexpr size_t kMostLabels = 10'000;

}  // namespace

ExampleCollector::ExampleCollector(const SchemaOptions& schema)
    : schema_(schema),
      label_(static_cast<size_t>(set_.add(schema.examples.label))),
      weight_(set_.add(schema.examples.weight)),
      group_(set_.add(schema.examples.group)),
      filter_(schema.example_filters, set_) {
  for (const auto& text : schema.examples.texts) text_columns_.push_back(static_cast<size_t>(set_.add(text)));
  for (const auto& text : schema.examples.second_texts) second_columns_.push_back(static_cast<size_t>(set_.add(text)));
}

const std::string& ExampleCollector::joined(const SourceRecord& record, const std::vector<size_t>& columns) {
  joined_.clear();
  for (const size_t column : columns) {
    if (record.fields[column].empty()) continue;
    if (!joined_.empty()) joined_ += ' ';
    joined_ += record.fields[column];
  }
  std::replace(joined_.begin(), joined_.end(), kElementSeparator, ' ');
  return joined_;
}

std::string_view ExampleCollector::label_name(const SourceRecord& record) const {
  const auto& names = schema_.examples.label_names;
  if (names.empty()) return record.fields[label_];
  const auto found = std::ranges::find(names, record.fields[label_], &Renamed::from);
  return found == names.end() ? std::string_view() : std::string_view(found->to);
}

std::string_view ExampleCollector::read(const SourceRecord& record) {
  if (!filter_.holds_for(record)) {
    ++rows_filtered_;
    return {};
  }
  if (record.fields[label_].empty()) return "empty label";
  const std::string_view name = label_name(record);
  if (name.empty()) return "unknown label";
  const bool held_out = part_ == ExamplePart::kValid || part_ == ExamplePart::kTest;
  if (held_out && !places_.contains(name)) return "label that no training example has";
  double weight = 1.0;
  if (weight_ >= 0 && (!read_number(record.fields[static_cast<size_t>(weight_)], weight) || weight < 0.0)) {
    return "weight is no number from 0 on";
  }
  const std::string& text = joined(record, text_columns_);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return "empty text";
  append_text(text, examples_.texts);
  append_text(joined(record, second_columns_), examples_.second_texts);
  const auto entry = places_.try_emplace(std::string(name), static_cast<int32_t>(places_.size())).first;
  if (places_.size() > kMostLabels) {
    throw DataError(concat("schema.examples.label \"", schema_.examples.label, "\" has more than ", kMostLabels,
                           " different values; it seems to be another column"));
  }
  labels_.push_back(entry->second);
  examples_.weights.push_back(static_cast<float>(weight));
  const std::string_view group = group_ < 0 ? std::string_view() : record.fields[static_cast<size_t>(group_)];
  examples_.groups.push_back(group.empty() ? 0 : hash_bytes(group));
  examples_.parts.push_back(part_);
  return {};
}

std::vector<std::string> ExampleCollector::ordered_labels() const {
  std::vector<std::string> labels;
  for (const auto& named : schema_.examples.label_names) {
    if (places_.contains(named.to) && std::ranges::find(labels, named.to) == labels.end()) labels.push_back(named.to);
  }
  if (!labels.empty()) return labels;
  for (const auto& [name, place] : places_) labels.push_back(name);
  double number = 0;
  if (std::ranges::all_of(labels, [&](const std::string& label) { return read_number(label, number); })) {
    std::ranges::stable_sort(labels, {}, [&](const std::string& label) {
      read_number(label, number);
      return number;
    });
  }
  return labels;
}

TextExamples ExampleCollector::build() && {
  examples_.label_names = ordered_labels();
  std::vector<int32_t> place_of(places_.size());
  for (size_t i = 0; i < examples_.label_names.size(); ++i) {
    const auto found = places_.find(examples_.label_names[i]);
    place_of[static_cast<size_t>(found->second)] = static_cast<int32_t>(i);
  }
  for (const int32_t label : labels_) examples_.labels.push_back(place_of[static_cast<size_t>(label)]);
  return std::move(examples_);
}

}  // namespace rondo
