#include "trainer/data/schema_proto.h"

#include <string>
#include <vector>

#include "proto/dataset.pb.h"
#include "proto/schema.pb.h"
#include "sharding/base/check.h"
#include "trainer/data/presets.h"

namespace rondo {
namespace {

// Enumerators of options and messages stand in one order; held here at the last of each.
static_assert(static_cast<int>(FileKind::kJsonLines) == proto::JSON_LINES);
static_assert(static_cast<int>(Encoding::kLatin1) == proto::LATIN1);
static_assert(static_cast<int>(TimeKind::kOrder) == proto::ORDER && static_cast<int>(TimeKind::kIso) == proto::ISO);
static_assert(static_cast<int>(KeyKind::kWholeNumber) == proto::WHOLE_NUMBER);
static_assert(static_cast<int>(Comparison::kGreaterOrEqual) == proto::GREATER_OR_EQUAL &&
              static_cast<int>(Comparison::kNotPrefix) == proto::NOT_PREFIX);
static_assert(static_cast<int>(SourcePreset::kSequences) == proto::SEQUENCES);

/// `name` is for the message.
FileOptions read_file_options(const proto::SourceFile& from, const char* name) {
  if (from.delimiter().size() != 1) {
    throw ConfigError(concat("schema.", name, ".delimiter must be one character, got \"", from.delimiter(), "\""));
  }
  return {{from.path().begin(), from.path().end()},
          static_cast<FileKind>(from.kind()),
          from.delimiter().front(),
          from.quoted(),
          from.header(),
          static_cast<Encoding>(from.encoding())};
}

void write_file_options(const FileOptions& from, proto::SourceFile& to) {
  for (const auto& path : from.paths) to.add_path(path);
  to.set_kind(static_cast<proto::FileKind>(from.kind));
  to.set_delimiter(std::string(1, from.delimiter));
  to.set_quoted(from.quoted);
  to.set_header(from.header);
  to.set_encoding(static_cast<proto::Encoding>(from.encoding));
}

/// Lays what differs from its default over what a preset says: a message may have its defaults written out.
template <typename T>
void lay_over(const T& value, const T& default_value, T& to) {
  if (value != default_value) to = value;
}

void write_names(const std::vector<Renamed>& from, google::protobuf::RepeatedPtrField<proto::Renamed>& to) {
  for (const Renamed& name : from) {
    auto* const renamed = to.Add();
    renamed->set_from(name.from);
    renamed->set_to(name.to);
  }
}

void read_events(const proto::EventMapping& from, EventColumns& to) {
  const proto::EventMapping defaults;
  lay_over(from.user(), defaults.user(), to.user);
  if (from.item_size() > 0) to.items.clear();
  for (const auto& item : from.item()) to.items.push_back({item.column(), item.separator()});
  lay_over(from.time(), defaults.time(), to.time);
  if (from.time_format() != defaults.time_format()) to.time_kind = static_cast<TimeKind>(from.time_format());
  lay_over(from.time_pattern(), defaults.time_pattern(), to.time_pattern);
  lay_over(from.time_zone(), defaults.time_zone(), to.time_zone);
  lay_over(from.behaviour(), defaults.behaviour(), to.behaviour);
  lay_over(from.behaviour_constant(), defaults.behaviour_constant(), to.behaviour_constant);
  for (const auto& name : from.behaviour_name()) to.behaviour_names.push_back({name.from(), name.to()});
  lay_over(from.value(), defaults.value(), to.value);
  lay_over(from.basket(), defaults.basket(), to.basket);
  to.join_overlaps = from.join_overlaps();
}

void write_events(const EventColumns& from, proto::EventMapping& to) {
  to.set_user(from.user);
  for (const auto& item : from.items) {
    auto* column = to.add_item();
    column->set_column(item.column);
    column->set_separator(item.separator);
  }
  to.set_time(from.time);
  to.set_time_format(static_cast<proto::TimeFormat>(from.time_kind));
  to.set_time_pattern(from.time_pattern);
  to.set_time_zone(from.time_zone);
  to.set_behaviour(from.behaviour);
  to.set_behaviour_constant(from.behaviour_constant);
  write_names(from.behaviour_names, *to.mutable_behaviour_name());
  to.set_value(from.value);
  to.set_basket(from.basket);
  to.set_join_overlaps(from.join_overlaps);
}

void read_catalog(const proto::CatalogMapping& from, CatalogColumns& to) {
  to.item = from.item();
  lay_over(from.title(), std::string(), to.title);
  if (from.text_size() > 0) to.texts.assign(from.text().begin(), from.text().end());
  for (const auto& feature : from.feature()) {
    to.features.push_back({feature.name(), {feature.column(), feature.separator()}});
  }
}

void write_catalog(const CatalogColumns& from, proto::CatalogMapping& to) {
  to.set_item(from.item);
  to.set_title(from.title);
  for (const auto& text : from.texts) to.add_text(text);
  for (const auto& feature : from.features) {
    auto* added = to.add_feature();
    added->set_name(feature.name);
    added->set_column(feature.column.column);
    added->set_separator(feature.column.separator);
  }
}

void read_examples(const proto::ExampleMapping& from, ExampleColumns& to) {
  to.texts.assign(from.text().begin(), from.text().end());
  to.second_texts.assign(from.second_text().begin(), from.second_text().end());
  to.label = from.label();
  for (const auto& name : from.label_name()) to.label_names.push_back({name.from(), name.to()});
  to.weight = from.weight();
  to.group = from.group();
  to.valid_paths.assign(from.valid_path().begin(), from.valid_path().end());
  to.test_paths.assign(from.test_path().begin(), from.test_path().end());
}

void write_examples(const ExampleColumns& from, proto::ExampleMapping& to) {
  for (const auto& text : from.texts) to.add_text(text);
  for (const auto& text : from.second_texts) to.add_second_text(text);
  to.set_label(from.label);
  write_names(from.label_names, *to.mutable_label_name());
  to.set_weight(from.weight);
  to.set_group(from.group);
  for (const auto& path : from.valid_paths) to.add_valid_path(path);
  for (const auto& path : from.test_paths) to.add_test_path(path);
}

void read_filters(const google::protobuf::RepeatedPtrField<proto::Filter>& from, std::vector<RowFilter>& to) {
  if (!from.empty()) to.clear();
  for (const auto& filter : from) {
    to.push_back({filter.column(), static_cast<Comparison>(filter.comparison()), filter.value()});
  }
}

void write_filters(const std::vector<RowFilter>& from, google::protobuf::RepeatedPtrField<proto::Filter>& to) {
  for (const RowFilter& filter : from) {
    auto* added = to.Add();
    added->set_column(filter.column);
    added->set_comparison(static_cast<proto::Comparison>(filter.comparison));
    added->set_value(filter.value);
  }
}

}  // namespace

SchemaOptions schema_from_proto(const proto::Schema& from) {
  SchemaOptions to = preset_schema(static_cast<SourcePreset>(from.preset()));
  to.event_file = read_file_options(from.event_file(), "event_file");
  read_events(from.events(), to.events);
  read_filters(from.filter(), to.filters);
  to.catalog_file = read_file_options(from.catalog_file(), "catalog_file");
  read_catalog(from.catalog(), to.catalog);
  read_filters(from.catalog_filter(), to.catalog_filters);
  to.user_key = static_cast<KeyKind>(from.user_key());
  to.item_key = static_cast<KeyKind>(from.item_key());
  to.salt = from.salt();
  to.attributes = from.attributes();
  to.max_rejected_fraction = from.max_rejected_fraction();
  to.example_file = read_file_options(from.example_file(), "example_file");
  read_examples(from.examples(), to.examples);
  read_filters(from.example_filter(), to.example_filters);
  return to;
}

void schema_to_proto(const SchemaOptions& from, proto::Schema& to) {
  to.set_preset(static_cast<proto::SourcePreset>(from.preset));
  write_file_options(from.event_file, *to.mutable_event_file());
  write_events(from.events, *to.mutable_events());
  write_filters(from.filters, *to.mutable_filter());
  write_file_options(from.catalog_file, *to.mutable_catalog_file());
  write_catalog(from.catalog, *to.mutable_catalog());
  write_filters(from.catalog_filters, *to.mutable_catalog_filter());
  to.set_user_key(static_cast<proto::KeyKind>(from.user_key));
  to.set_item_key(static_cast<proto::KeyKind>(from.item_key));
  to.set_salt(from.salt);
  to.set_attributes(from.attributes);
  to.set_max_rejected_fraction(from.max_rejected_fraction);
  if (!reads_examples(from)) return;
  write_file_options(from.example_file, *to.mutable_example_file());
  write_examples(from.examples, *to.mutable_examples());
  write_filters(from.example_filters, *to.mutable_example_filter());
}

SplitOptions split_from_proto(const proto::Split& from) {
  SplitOptions to;
  switch (from.kind()) {
    case proto::LEAVE_ONE_OUT:
      to.kind = SplitKind::kLeaveOneOut;
      break;
    case proto::LAST_BASKET_OUT:
      to.kind = SplitKind::kLastBasketOut;
      break;
    case proto::GLOBAL_TIME:
      to.kind = SplitKind::kGlobalTime;
      break;
    case proto::RANDOM:
      to.kind = SplitKind::kRandom;
      break;
  }
  to.valid_fraction = from.valid_fraction();
  to.test_fraction = from.test_fraction();
  to.repeats = from.repeats() == proto::DROP ? Repeats::kDrop : Repeats::kKeepUnmasked;
  to.min_user_events = from.min_user_events();
  to.seed = from.seed();
  return to;
}

void split_to_proto(const SplitOptions& from, proto::Split& to) {
  switch (from.kind) {
    case SplitKind::kLeaveOneOut:
      to.set_kind(proto::LEAVE_ONE_OUT);
      break;
    case SplitKind::kLastBasketOut:
      to.set_kind(proto::LAST_BASKET_OUT);
      break;
    case SplitKind::kGlobalTime:
      to.set_kind(proto::GLOBAL_TIME);
      break;
    case SplitKind::kRandom:
      to.set_kind(proto::RANDOM);
      break;
  }
  to.set_valid_fraction(from.valid_fraction);
  to.set_test_fraction(from.test_fraction);
  to.set_repeats(from.repeats == Repeats::kDrop ? proto::DROP : proto::KEEP_UNMASKED);
  to.set_min_user_events(from.min_user_events);
  to.set_seed(from.seed);
}

}  // namespace rondo
