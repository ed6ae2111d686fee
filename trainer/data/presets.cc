#include "trainer/data/presets.h"

namespace rondo {
namespace {

SchemaOptions online_retail() {
  SchemaOptions options;
  options.events.user = "CustomerID";
  options.events.items = {{"StockCode"}};
  options.events.time = "InvoiceDate";
  options.events.time_kind = TimeKind::kIso;
  options.events.time_zone = "Europe/London";
  options.events.behaviour_constant = "buy";
  options.events.value = "Quantity";
  options.events.basket = "InvoiceNo";
  options.filters = {{"CustomerID", Comparison::kNotEmpty},
                     {"InvoiceNo", Comparison::kNotPrefix, "C"},
                     {"Quantity", Comparison::kGreater, "0"},
                     {"UnitPrice", Comparison::kGreater, "0"}};
  options.catalog.title = "Description";
  return options;
}

SchemaOptions sequences() {
  SchemaOptions options;
  options.events.time_kind = TimeKind::kOrder;
  return options;
}

}  // namespace

SchemaOptions preset_schema(SourcePreset preset) {
  SchemaOptions options;
  if (preset == SourcePreset::kOnlineRetail) options = online_retail();
  if (preset == SourcePreset::kSequences) options = sequences();
  options.preset = preset;
  return options;
}

}  // namespace rondo
