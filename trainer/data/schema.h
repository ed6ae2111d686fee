#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

// What the fields mean is said once, in proto/schema.proto, whose messages these mirror.

enum class FileKind : uint8_t { kDelimited, kJsonLines };
enum class Encoding : uint8_t { kUtf8, kLatin1 };

/// How one kind of source file is written. gzip is recognised by content.
struct FileOptions {
  std::vector<std::string> paths;
  FileKind kind = FileKind::kDelimited;
  char delimiter = ',';
  bool quoted = true;  ///< RFC 4180
  bool header = true;  ///< first line names the columns; else columns are positions from 1
  Encoding encoding = Encoding::kUtf8;
};

enum class TimeKind : uint8_t { kSeconds, kMillis, kMicros, kPattern, kOrder, kIso };

/// How the text of a key becomes the row key: its hash with the salt, or the number itself.
enum class KeyKind : uint8_t { kText, kWholeNumber };

enum class Comparison : uint8_t {
  kNotEmpty,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kPrefix,
  kNotPrefix,
};

/// Rows for which a filter does not hold are left out (and counted, not rejected). Orders compare numbers.
struct RowFilter {
  std::string column;
  Comparison comparison = Comparison::kNotEmpty;
  std::string value = {};
};

/// A column by name (or position from 1, as text). With a separator it is a list.
struct ColumnOptions {
  std::string column;
  std::string separator = {};
};

/// What the source says, and what the dataset calls it.
struct Renamed {
  std::string from;
  std::string to;
};

struct EventColumns {
  std::string user;
  std::vector<ColumnOptions> items;  ///< several, or lists: one event each, in order
  std::string time;
  TimeKind time_kind = TimeKind::kSeconds;
  std::string time_pattern;
  std::string time_zone = "UTC";
  std::string behaviour;  ///< column; empty: the constant
  std::string behaviour_constant = "event";
  std::vector<Renamed> behaviour_names;  ///< empty: as in the source
  std::string value;                     ///< rating, quantity; empty: 1
  std::string basket;                    ///< invoice, session; empty: equal time is one basket
  bool join_overlaps = false;
};

/// A categorical feature: a bag of values an item.
struct FeatureOptions {
  std::string name;
  ColumnOptions column;
};

struct CatalogColumns {
  std::string item;
  std::string title;
  std::vector<std::string> texts;  ///< joined by a blank for the text tower; empty: the title
  std::vector<FeatureOptions> features;
};

struct ExampleColumns {
  std::vector<std::string> texts;         ///< joined by a blank
  std::vector<std::string> second_texts;  ///< empty: single texts
  std::string label;
  std::vector<Renamed> label_names;  ///< in the order of the classes; empty: as in the source
  std::string weight;                ///< empty: 1
  std::string group;                 ///< empty: equal texts are a group
  std::vector<std::string> valid_paths;
  std::vector<std::string> test_paths;
};

enum class SourcePreset : uint8_t { kNone, kOnlineRetail, kSequences };

/// How logs and a catalogue become a dataset. Made from a job by `schema_from_proto`, or from a preset (presets.h).
struct SchemaOptions {
  SourcePreset preset = SourcePreset::kNone;
  FileOptions event_file;
  EventColumns events;
  std::vector<RowFilter> filters;
  FileOptions catalog_file;  ///< no paths: items and their columns come from the event file
  CatalogColumns catalog;
  std::vector<RowFilter> catalog_filters;
  KeyKind user_key = KeyKind::kText;
  KeyKind item_key = KeyKind::kText;
  uint64_t salt = 0;
  std::string attributes;  ///< kSequences: JSON object, item -> list of attribute ids
  double max_rejected_fraction = 0.001;
  FileOptions example_file;  ///< texts with classes, instead of events and a catalogue
  ExampleColumns examples;
  std::vector<RowFilter> example_filters;
};

/// Does it read texts with classes (else a shop)?
inline bool reads_examples(const SchemaOptions& options) { return !options.example_file.paths.empty(); }

/// Throws ConfigError naming the field, its value and what was expected.
void validate(const SchemaOptions& options);

/// Names of the features that the catalogue will have, in its order.
std::vector<std::string> feature_names(const SchemaOptions& options);

}  // namespace rondo
