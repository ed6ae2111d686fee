#include "trainer/data/event_reader.h"

#include <algorithm>
#include <filesystem>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

/// Records between two looks at the progress and at the fraction of rejected rows.
constexpr int64_t kReportRows = 1 << 14;

/// Rows read before a hopeless file is given up early.
constexpr int64_t kHopelessRows = 100'000;

int64_t total_bytes(const std::vector<std::string>& paths) {
  int64_t total = 0;
  for (const auto& path : paths) {
    std::error_code ignored;
    const auto size = std::filesystem::file_size(path, ignored);
    if (!ignored) total += static_cast<int64_t>(size);
  }
  return total;
}

/// Calls `read(record)` for every sound record of the files; `read` returns null, or why the record is rejected.
template <typename Read>
void for_each_record(const FileOptions& file, const std::vector<std::string>& columns, IngestSink& sink,
                     Progress& progress, const Read& read) {
  progress.begin("read", total_bytes(file.paths), "bytes");
  int64_t done = 0, rows = 0;
  for (const auto& path : file.paths) {
    SourceFile source(path, file, columns);
    SourceRecord record;
    const int64_t before = rows;
    while (source.next(record)) {
      const char* reason = record.rejected != nullptr ? record.rejected : read(record);
      if (reason == nullptr) {
        sink.quarantine.accept();
      } else {
        sink.quarantine.reject(path, record.line, reason, record.raw);
      }
      if (++rows % kReportRows == 0) {
        progress.advance(done + source.consumed());
        if (rows >= kHopelessRows && sink.quarantine.rejected() > sink.quarantine.rows() / 2)
          sink.quarantine.check_fraction();
      }
    }
    if (rows == before) throw DataError(concat(path, ": the file has a header and no rows"));
    done += source.size();
  }
  progress.end();
}

struct FilterColumn {
  RowFilter filter;
  size_t column;
};

std::vector<FilterColumn> filter_columns(const std::vector<RowFilter>& filters, ColumnSet& set) {
  std::vector<FilterColumn> out;
  for (const auto& filter : filters) out.push_back({filter, static_cast<size_t>(set.add(filter.column))});
  return out;
}

bool all_hold(const std::vector<FilterColumn>& filters, const SourceRecord& record) {
  return std::all_of(filters.begin(), filters.end(),
                     [&](const FilterColumn& f) { return holds(f.filter, record.fields[f.column]); });
}

/// The event mapping of a schema, applied to records.
class EventMapper {
 public:
  EventMapper(const SchemaOptions& schema, IngestSink& sink)
      : schema_(schema),
        sink_(sink),
        times_(schema.events.time_kind, schema.events.time_pattern, schema.events.time_zone),
        user_(set_.add(schema.events.user)),
        time_(schema.events.time_kind == TimeKind::kOrder ? -1 : set_.add(schema.events.time)),
        behaviour_(set_.add(schema.events.behaviour)),
        value_(set_.add(schema.events.value)),
        basket_(set_.add(schema.events.basket)),
        filters_(filter_columns(schema.filters, set_)),
        describes_items_(schema.catalog_file.paths.empty()),
        item_fields_(describes_items_ ? schema.catalog : CatalogColumns{}, set_) {
    for (const auto& item : schema.events.items) items_.push_back(set_.add(item.column));
  }

  const std::vector<std::string>& columns() const { return set_.columns(); }

  const char* read(const SourceRecord& record) {
    if (!all_hold(filters_, record)) {
      ++sink_.rows_filtered;
      return nullptr;
    }
    SpooledEvent event;
    if (const char* reason = read_common(record, event)) return reason;
    if (!collect_items(record)) return "empty or bad item";
    for (const std::string_view raw : raw_items_) {
      const auto item = sink_.items.intern(raw);
      if (!item) return "item is no whole number";
      if (describes_items_) sink_.items.describe(*item, item_fields_.read(record));
      event.item = *item;
      event.order = order_++;
      if (time_ < 0) event.time = event.order;
      if (basket_ < 0) event.basket = event.time;
      sink_.events.add(event);
    }
    return nullptr;
  }

 private:
  std::string_view field(const SourceRecord& record, int column) const {
    return record.fields[static_cast<size_t>(column)];
  }

  const char* read_common(const SourceRecord& record, SpooledEvent& event) {
    if (time_ >= 0) {
      const auto time = times_.read(field(record, time_));
      if (!time) return "bad time";
      event.time = *time;
    }
    double value = 1.0;
    if (value_ >= 0 && !read_number(field(record, value_), value)) return "value is no finite number";
    event.value = static_cast<float>(value);
    if (basket_ >= 0) event.basket = static_cast<int64_t>(hash_bytes(field(record, basket_)));
    const int behaviour =
        behaviour_index(behaviour_ >= 0 ? field(record, behaviour_) : schema_.events.behaviour_constant);
    if (behaviour < 0) return "more than 255 behaviours";
    event.behaviour = static_cast<uint8_t>(behaviour);
    if (field(record, user_).empty()) return "empty user";
    const auto user = sink_.users.intern(field(record, user_));
    if (!user) return "user is no whole number";
    event.user = *user;
    event.row_hash = hash_bytes(record.raw);
    return nullptr;
  }

  bool collect_items(const SourceRecord& record) {
    raw_items_.clear();
    for (size_t i = 0; i < items_.size(); ++i) {
      for (const auto raw : split_list(field(record, items_[i]), schema_.events.items[i].separator)) {
        if (raw.empty()) return false;
        raw_items_.push_back(raw);
      }
    }
    return true;
  }

  int behaviour_index(std::string_view name) {
    auto& names = sink_.behaviours;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<int>(found - names.begin());
    if (names.size() == 255) return -1;
    names.emplace_back(name);
    return static_cast<int>(names.size()) - 1;
  }

  const SchemaOptions& schema_;
  IngestSink& sink_;
  TimeReader times_;
  ColumnSet set_;
  int user_, time_, behaviour_, value_, basket_;
  std::vector<int> items_;
  std::vector<FilterColumn> filters_;
  bool describes_items_;
  ItemFields item_fields_;
  std::vector<std::string_view> raw_items_;
  int64_t order_ = 0;
};

}  // namespace

int ColumnSet::add(const std::string& column) {
  if (column.empty()) return -1;
  const auto found = std::find(columns_.begin(), columns_.end(), column);
  if (found != columns_.end()) return static_cast<int>(found - columns_.begin());
  columns_.push_back(column);
  return static_cast<int>(columns_.size()) - 1;
}

std::vector<std::string_view> split_list(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  while (!separator.empty()) {
    const size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.push_back(text);
  return parts;
}

ItemFields::ItemFields(const CatalogColumns& columns, ColumnSet& set) : title_(set.add(columns.title)) {
  for (const auto& text : columns.texts) texts_.push_back(set.add(text));
  for (const auto& feature : columns.features) {
    features_.emplace_back(set.add(feature.column.column), feature.column.separator);
  }
  row_.features.resize(features_.size());
}

const ItemRow& ItemFields::read(const SourceRecord& record) {
  const auto field = [&](int column) {
    return column < 0 ? std::string_view() : record.fields[static_cast<size_t>(column)];
  };
  row_.title = field(title_);
  joined_.clear();
  for (const int text : texts_) {
    if (!joined_.empty()) joined_ += ' ';
    joined_ += field(text);
  }
  row_.text = joined_;
  for (size_t i = 0; i < features_.size(); ++i)
    row_.features[i] = split_list(field(features_[i].first), features_[i].second);
  return row_;
}

void read_catalog(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  ColumnSet set;
  const auto item = static_cast<size_t>(set.add(schema.catalog.item));
  ItemFields fields(schema.catalog, set);
  const auto filters = filter_columns(schema.catalog_filters, set);
  for_each_record(schema.catalog_file, set.columns(), sink, progress, [&](const SourceRecord& record) -> const char* {
    if (!all_hold(filters, record)) {
      ++sink.rows_filtered;
      return nullptr;
    }
    if (record.fields[item].empty()) return "empty item";
    const auto place = sink.items.intern(record.fields[item]);
    if (!place) return "item is no whole number";
    sink.items.describe(*place, fields.read(record));
    return nullptr;
  });
}

void read_events(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  EventMapper mapper(schema, sink);
  for_each_record(schema.event_file, mapper.columns(), sink, progress,
                  [&](const SourceRecord& record) { return mapper.read(record); });
}

void read_sequences(const SchemaOptions& schema, IngestSink& sink, Progress& progress) {
  FileOptions lines = schema.event_file;
  lines.header = false;
  lines.quoted = false;
  lines.delimiter = '\x1e';  // no line holds it: one field a line
  sink.behaviours.assign(1, schema.events.behaviour_constant);
  int64_t order = 0;
  for_each_record(lines, {"1"}, sink, progress, [&](const SourceRecord& record) -> const char* {
    const auto words = split_list(record.fields[0], " ");
    if (words.size() < 2) return "a user without items";
    if (std::any_of(words.begin(), words.end(), [](std::string_view word) { return word.empty(); }))
      return "empty item";
    const auto user = sink.users.intern(words[0]);
    if (!user) return "user is no whole number";
    for (size_t i = 1; i < words.size(); ++i) {
      const auto item = sink.items.intern(words[i]);
      if (!item) return "item is no whole number";
      sink.events.add({order, order, static_cast<uint64_t>(order), order, *user, *item, 1.0F, 0});
      ++order;
    }
    return nullptr;
  });
}

}  // namespace rondo
