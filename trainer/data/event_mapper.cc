#include "trainer/data/event_mapper.h"

#include <algorithm>
#include <cmath>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "trainer/data/row_filter.h"

namespace rondo {
namespace {

constexpr size_t kMostBehaviours = 255;

std::string_view field(const SourceRecord& record, int column) { return record.fields[static_cast<size_t>(column)]; }

}  // namespace

EventMapper::EventMapper(const SchemaOptions& schema, IngestSink& sink)
    : schema_(schema),
      sink_(sink),
      times_(schema.events),
      user_(static_cast<size_t>(set_.add(schema.events.user))),
      time_(set_.add(schema.events.time)),
      behaviour_(set_.add(schema.events.behaviour)),
      value_(set_.add(schema.events.value)),
      basket_(set_.add(schema.events.basket)),
      filter_(schema.filters, set_),
      describes_items_(schema.catalog_file.paths.empty()),
      descriptions_(describes_items_ ? schema.catalog : CatalogColumns{}, set_) {
  for (const auto& item : schema.events.items) item_columns_.push_back(static_cast<size_t>(set_.add(item.column)));
}

std::string_view EventMapper::read(const SourceRecord& record) {
  if (!filter_.holds_for(record)) {
    ++sink_.rows_filtered;
    return {};
  }
  const auto user = sink_.users.key_of(record.fields[user_]);
  if (!user.rejected.empty()) return user.rejected;
  if (const auto reason = read_items(record); !reason.empty()) return reason;
  SpooledEvent event;
  if (const auto reason = read_common(record, event); !reason.empty()) return reason;
  event.user = sink_.users.intern(user.key, record.fields[user_]);
  add_events(record, event);
  return {};
}

std::string_view EventMapper::read_items(const SourceRecord& record) {
  elements_.clear();
  for (size_t i = 0; i < item_columns_.size(); ++i) {
    append_elements(record.fields[item_columns_[i]], schema_.events.items[i].separator, elements_);
  }
  if (elements_.empty()) return "empty item";
  items_.clear();
  for (const std::string_view raw : elements_) {
    const auto item = sink_.items.key_of(raw);
    if (!item.rejected.empty()) return item.rejected;
    items_.push_back({item.key, raw});
  }
  return {};
}

std::string_view EventMapper::read_common(const SourceRecord& record, SpooledEvent& event) {
  if (time_ >= 0) {
    const auto time = times_.read(field(record, time_));
    if (!time) return "bad time";
    event.time = *time;
  }
  if (value_ >= 0) {
    double value = 0;
    if (!read_number(field(record, value_), value)) return "value is no finite number";
    event.value = static_cast<float>(value);
    if (!std::isfinite(event.value)) return "value out of range";
  }
  const auto behaviour = behaviour_index(behaviour_name(record));
  if (!behaviour) return schema_.events.behaviour_names.empty() ? "empty behaviour" : "unknown behaviour";
  event.behaviour = *behaviour;
  return {};
}

std::string_view EventMapper::behaviour_name(const SourceRecord& record) const {
  if (behaviour_ < 0) return schema_.events.behaviour_constant;
  const auto& names = schema_.events.behaviour_names;
  if (names.empty()) return field(record, behaviour_);
  const auto found = std::find_if(names.begin(), names.end(),
                                  [&](const auto& name) { return name.from == field(record, behaviour_); });
  return found == names.end() ? std::string_view() : std::string_view(found->to);
}

std::optional<uint8_t> EventMapper::behaviour_index(std::string_view name) {
  if (name.empty()) return std::nullopt;
  auto& names = sink_.behaviours;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<uint8_t>(found - names.begin());
  if (names.size() == kMostBehaviours) {
    throw DataError(concat("schema.events.behaviour \"", schema_.events.behaviour, "\" has more than ", kMostBehaviours,
                           " different values; it seems to be another column"));
  }
  names.emplace_back(name);
  return static_cast<uint8_t>(names.size() - 1);
}

void EventMapper::add_events(const SourceRecord& record, SpooledEvent event) {
  const uint64_t row_hash = hash_bytes(record.raw);
  const std::string_view basket = basket_ < 0 ? std::string_view() : field(record, basket_);
  const uint64_t basket_hash = hash_bytes(basket);
  for (size_t i = 0; i < items_.size(); ++i) {
    event.item = sink_.items.intern(items_[i].key, items_[i].raw);
    if (describes_items_) descriptions_.describe(record, event.item, sink_.items);
    event.row_hash = mix64(row_hash + i);
    event.starts_row = i == 0;
    if (time_ < 0) event.time = sink_.next_ordinal++;
    event.basket = basket.empty() ? event.time : static_cast<int64_t>(basket_hash);
    sink_.events.add(event);
  }
}

}  // namespace rondo
