#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

enum class FileKind : uint8_t { kDelimited, kJsonLines };
enum class Encoding : uint8_t { kUtf8, kLatin1 };

/// How one kind of source file is written. gzip is recognised by content.
struct FileOptions {
  std::vector<std::string> paths;
  FileKind kind = FileKind::kDelimited;
  char delimiter = ',';
  bool quoted = true;  ///< RFC 4180: "a ""b""", line breaks inside quotes
  bool header = true;  ///< first line names the columns; else columns are positions from 1
  Encoding encoding = Encoding::kUtf8;
};

enum class TimeKind : uint8_t {
  kOrder,    ///< no time column: the order in the file is the time
  kSeconds,  ///< Unix time, a fraction is allowed
  kMillis,
  kMicros,
  kPattern,  ///< %Y %m %d %H %M %S and literal characters
};

/// How the text of a key becomes the row key.
enum class KeyKind : uint8_t {
  kText,         ///< hash of the text, with the salt
  kWholeNumber,  ///< the number itself
};

enum class Comparison : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kPrefix,
  kNotPrefix,
  kNotEmpty
};

/// Rows for which a filter does not hold are left out (and counted, not rejected). Orders compare numbers.
struct RowFilter {
  std::string column;
  Comparison comparison = Comparison::kNotEmpty;
  std::string value;
};

/// A column by name (or position from 1, as text). With a separator it is a list.
struct ColumnOptions {
  std::string column;
  std::string separator;
};

struct EventColumns {
  std::string user;
  std::vector<ColumnOptions> items;  ///< several, or lists: one event each, in order
  std::string time;
  TimeKind time_kind = TimeKind::kSeconds;
  std::string time_pattern;
  std::string time_zone = "UTC";  ///< IANA name
  std::string behaviour;          ///< column; empty: the constant
  std::string behaviour_constant = "event";
  std::string value;   ///< rating, quantity; empty: 1
  std::string basket;  ///< invoice, session; empty: equal time is one basket
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

enum class SourcePreset : uint8_t {
  kNone,
  kSequences,  ///< one user and its items a line, blank-separated, oldest first; attributes in a JSON object
};

/// How logs and a catalogue become a dataset.
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
  uint64_t salt = 0;       ///< of text keys
  std::string attributes;  ///< kSequences: JSON object, item -> list of attribute ids
  double max_rejected_fraction = 0.001;
};

/// Throws ConfigError naming the field, its value and what was expected.
void validate(const SchemaOptions& options);

/// The cleaning and mapping of the "Online Retail" data of UCI laid under `options` (whose paths stay): cancellations,
/// returns, free goods and rows without customer out; most frequent description as title; invoice as basket.
SchemaOptions online_retail(SchemaOptions options);

}  // namespace rondo
