#include "launch/schema_options.h"

#include "proto/schema.pb.h"
#include "sharding/base/check.h"

namespace rondo {
namespace {

TimeKind to_time_kind(proto::TimeFormat from) {
  switch (from) {
    case proto::UNIX_SECONDS:
      return TimeKind::kSeconds;
    case proto::UNIX_MILLIS:
      return TimeKind::kMillis;
    case proto::UNIX_MICROS:
      return TimeKind::kMicros;
    case proto::PATTERN:
      return TimeKind::kPattern;
    case proto::ORDER:
      return TimeKind::kOrder;
  }
  return TimeKind::kSeconds;
}

Comparison to_comparison(proto::Comparison from) {
  switch (from) {
    case proto::NOT_EMPTY:
      return Comparison::kNotEmpty;
    case proto::EQUAL:
      return Comparison::kEqual;
    case proto::NOT_EQUAL:
      return Comparison::kNotEqual;
    case proto::LESS:
      return Comparison::kLess;
    case proto::LESS_OR_EQUAL:
      return Comparison::kLessOrEqual;
    case proto::GREATER:
      return Comparison::kGreater;
    case proto::GREATER_OR_EQUAL:
      return Comparison::kGreaterOrEqual;
    case proto::PREFIX:
      return Comparison::kPrefix;
    case proto::NOT_PREFIX:
      return Comparison::kNotPrefix;
  }
  return Comparison::kNotEmpty;
}

KeyKind to_key_kind(proto::KeyKind from) { return from == proto::TEXT ? KeyKind::kText : KeyKind::kWholeNumber; }

FileOptions to_file(const proto::SourceFile& from, const char* field) {
  FileOptions to;
  to.paths.assign(from.path().begin(), from.path().end());
  to.kind = from.kind() == proto::DELIMITED ? FileKind::kDelimited : FileKind::kJsonLines;
  if (from.delimiter().size() != 1) {
    throw ConfigError(concat(field, ".delimiter must be one character, got \"", from.delimiter(), "\""));
  }
  to.delimiter = from.delimiter()[0];
  to.quoted = from.quoted();
  to.header = from.header();
  to.encoding = from.encoding() == proto::UTF8 ? Encoding::kUtf8 : Encoding::kLatin1;
  return to;
}

EventColumns to_events(const proto::EventMapping& from) {
  EventColumns to;
  to.user = from.user();
  for (const auto& item : from.item()) to.items.push_back({item.column(), item.separator()});
  to.time = from.time();
  to.time_kind = to_time_kind(from.time_format());
  to.time_pattern = from.time_pattern();
  to.time_zone = from.time_zone();
  to.behaviour = from.behaviour();
  to.behaviour_constant = from.behaviour_constant();
  to.value = from.value();
  to.basket = from.basket();
  return to;
}

CatalogColumns to_catalog(const proto::CatalogMapping& from) {
  CatalogColumns to{from.item(), from.title(), {from.text().begin(), from.text().end()}, {}};
  for (const auto& feature : from.feature()) {
    to.features.push_back({feature.name(), {feature.column(), feature.separator()}});
  }
  return to;
}

}  // namespace

SchemaOptions to_schema(const proto::Schema& from) {
  SchemaOptions to;
  to.preset = from.preset() == proto::SEQUENCES ? SourcePreset::kSequences : SourcePreset::kNone;
  to.event_file = to_file(from.event_file(), "event_file");
  to.events = to_events(from.events());
  for (const auto& filter : from.filter()) {
    to.filters.push_back({filter.column(), to_comparison(filter.comparison()), filter.value()});
  }
  to.catalog_file = to_file(from.catalog_file(), "catalog_file");
  to.catalog = to_catalog(from.catalog());
  for (const auto& filter : from.catalog_filter()) {
    to.catalog_filters.push_back({filter.column(), to_comparison(filter.comparison()), filter.value()});
  }
  to.user_key = to_key_kind(from.user_key());
  to.item_key = to_key_kind(from.item_key());
  to.salt = from.salt();
  to.attributes = from.attributes();
  to.max_rejected_fraction = from.max_rejected_fraction();
  return from.preset() == proto::ONLINE_RETAIL ? online_retail(std::move(to)) : to;
}

}  // namespace rondo
