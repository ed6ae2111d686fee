#include "trainer/data/schema.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "sharding/base/check.h"
#include "trainer/data/row_filter.h"
#include "trainer/data/time_reader.h"

namespace rondo {
namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw ConfigError("schema." + message);
}

void validate_file(const FileOptions& file, const std::string& name) {
  require(std::string_view("\r\n\"").find(file.delimiter) == std::string_view::npos && file.delimiter != '\0',
          name + ".delimiter may be no line break, quotation mark or NUL");
  require(std::none_of(file.paths.begin(), file.paths.end(), [](const auto& path) { return path.empty(); }),
          name + ".path must name a file, got \"\"");
}

bool compares_numbers(Comparison comparison) {
  return comparison >= Comparison::kLess && comparison <= Comparison::kGreaterOrEqual;
}

void validate_filters(const std::vector<RowFilter>& filters, const std::string& name) {
  for (const RowFilter& filter : filters) {
    require(!filter.column.empty(), name + ".column must name a column");
    double ignored = 0;
    require(!compares_numbers(filter.comparison) || read_number(filter.value, ignored),
            concat(name, ".value must be a number for this comparison, got \"", filter.value, "\""));
  }
}

void validate_events(const EventColumns& events) {
  require(!events.user.empty(), "events.user must name a column");
  require(!events.items.empty(), "events.item must name a column");
  for (const auto& item : events.items) require(!item.column.empty(), "events.item.column must name a column");
  require(events.time_kind == TimeKind::kOrder || !events.time.empty(),
          "events.time must name a column unless time_format is ORDER");
  require(events.time_kind != TimeKind::kOrder || events.time.empty(),
          concat("events.time must be empty when time_format is ORDER, got \"", events.time, "\""));
  require(events.time_kind != TimeKind::kPattern || !events.time_pattern.empty(),
          "events.time_pattern must be given when time_format is PATTERN, for instance \"%Y-%m-%d %H:%M:%S\"");
  require(!events.join_overlaps || events.time_kind == TimeKind::kOrder,
          "events.join_overlaps needs time_format ORDER");
  require(events.behaviour_names.empty() || !events.behaviour.empty(),
          "events.behaviour_name renames what events.behaviour holds; name that column");
}

void validate_features(const std::vector<FeatureOptions>& features) {
  for (const auto& feature : features) {
    const bool plain = !feature.name.empty() && std::all_of(feature.name.begin(), feature.name.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
    });
    require(plain, concat("catalog.feature.name must be letters, digits, '_' and '-', got \"", feature.name, "\""));
    require(!feature.column.column.empty(), "catalog.feature.column must name a column");
    const auto same = [&](const auto& other) { return other.name == feature.name; };
    require(std::count_if(features.begin(), features.end(), same) == 1,
            concat("catalog.feature.name \"", feature.name, "\" is there twice"));
  }
}

void validate_examples(const SchemaOptions& options) {
  const ExampleColumns& examples = options.examples;
  require(options.event_file.paths.empty() && options.catalog_file.paths.empty(),
          "example_file makes a dataset of texts, event_file and catalog_file one of a shop: name one of them");
  validate_file(options.example_file, "example_file");
  validate_filters(options.example_filters, "example_filter");
  require(!examples.texts.empty(), "examples.text must name a column");
  require(!examples.label.empty(), "examples.label must name a column");
  for (const auto& name : examples.label_names) {
    require(!name.from.empty() && !name.to.empty(), "examples.label_name needs from and to");
  }
}

void validate_shop(const SchemaOptions& options) {
  require(!options.event_file.paths.empty(), "event_file.path must name at least one file");
  validate_file(options.event_file, "event_file");
  validate_file(options.catalog_file, "catalog_file");
  require(!options.events.behaviour_constant.empty(), "events.behaviour_constant must not be empty");
  require(options.attributes.empty() || options.preset == SourcePreset::kSequences,
          "attributes belongs to the preset SEQUENCES");
  validate_filters(options.filters, "filter");
  validate_filters(options.catalog_filters, "catalog_filter");
  validate_features(options.catalog.features);
  if (options.preset != SourcePreset::kSequences) validate_events(options.events);
  require(options.catalog_file.paths.empty() || !options.catalog.item.empty(),
          "catalog.item must name a column of the catalogue file");
  const TimeReader reads_pattern_and_zone(options.events);
}

}  // namespace

void validate(const SchemaOptions& options) {
  require(options.max_rejected_fraction >= 0.0 && options.max_rejected_fraction <= 1.0,
          concat("max_rejected_fraction must be in [0, 1], got ", options.max_rejected_fraction));
  reads_examples(options) ? validate_examples(options) : validate_shop(options);
}

std::vector<std::string> feature_names(const SchemaOptions& options) {
  if (!options.attributes.empty()) return {"attribute"};
  std::vector<std::string> names;
  for (const auto& feature : options.catalog.features) names.push_back(feature.name);
  return names;
}

}  // namespace rondo
