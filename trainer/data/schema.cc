#include "trainer/data/schema.h"

#include "sharding/base/check.h"

namespace rondo {
namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw ConfigError(message);
}

void validate_generic(const SchemaOptions& options) {
  const EventColumns& events = options.events;
  require(!events.user.empty(), "events.user must name a column");
  require(!events.items.empty(), "events.item must name a column");
  for (const auto& item : events.items) require(!item.column.empty(), "events.item must name a column");
  require(events.time_kind == TimeKind::kOrder || !events.time.empty(),
          "events.time must name a column unless time_format is ORDER");
  require(events.time_kind != TimeKind::kPattern || !events.time_pattern.empty(),
          "events.time_pattern must be given when time_format is PATTERN, for instance \"%Y-%m-%d %H:%M:%S\"");
  require(options.catalog_file.paths.empty() || !options.catalog.item.empty(),
          "catalog.item must name a column of the catalogue file");
  for (const auto& feature : options.catalog.features) {
    require(!feature.name.empty() && !feature.column.column.empty(), "catalog.feature must have a name and a column");
  }
}

}  // namespace

void validate(const SchemaOptions& options) {
  require(!options.event_file.paths.empty(), "event_file.path must name at least one file");
  require(options.max_rejected_fraction >= 0.0 && options.max_rejected_fraction <= 1.0,
          concat("max_rejected_fraction must be in [0, 1], got ", options.max_rejected_fraction));
  if (options.preset == SourcePreset::kNone) validate_generic(options);
}

SchemaOptions online_retail(SchemaOptions options) {
  options.events.user = "CustomerID";
  options.events.items = {{"StockCode", ""}};
  options.events.time = "InvoiceDate";
  options.events.time_kind = TimeKind::kPattern;
  options.events.time_pattern = "%Y-%m-%dT%H:%M:%S";
  options.events.time_zone = "Europe/London";
  options.events.behaviour_constant = "buy";
  options.events.value = "Quantity";
  options.events.basket = "InvoiceNo";
  options.filters = {{"CustomerID", Comparison::kNotEmpty, ""},
                     {"InvoiceNo", Comparison::kNotPrefix, "C"},
                     {"Quantity", Comparison::kGreater, "0"},
                     {"UnitPrice", Comparison::kGreater, "0"}};
  options.catalog.title = "Description";
  return options;
}

}  // namespace rondo
