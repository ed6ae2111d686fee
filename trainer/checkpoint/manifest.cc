#include "trainer/checkpoint/manifest.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <limits>
#include <set>

#include "proto/manifest.pb.h"
#include "sharding/base/check.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

using Message = proto::CheckpointManifest;

constexpr char kDigestLine[] = "# sha256 of the lines above: ";
constexpr size_t kDigestDigits = 64;
constexpr int64_t kMostBuckets = int64_t{1} << 22;

std::string to_word(KeySpace key_space) { return key_space == KeySpace::kDense ? "dense" : "hashed"; }

std::string to_word(RowType type) {
  switch (type) {
    case RowType::kFloat32:
      return "float32";
    case RowType::kFloat64:
      return "float64";
    case RowType::kFloat16:
      return "float16";
    case RowType::kBFloat16:
      return "bfloat16";
  }
  throw InternalError(concat("row type ", static_cast<int>(type), " is not known"));
}

std::string to_word(RowOptimizerKind kind) {
  switch (kind) {
    case RowOptimizerKind::kNone:
      return "none";
    case RowOptimizerKind::kSgd:
      return "sgd";
    case RowOptimizerKind::kRowWiseAdagrad:
      return "row_wise_adagrad";
    case RowOptimizerKind::kAdam:
      return "adam";
    case RowOptimizerKind::kAdagrad:
      return "adagrad";
    case RowOptimizerKind::kRowWiseAdam:
      return "row_wise_adam";
  }
  throw InternalError(concat("row optimizer ", static_cast<int>(kind), " is not known"));
}

/// Keeps the first complaint, as "line:column: text".
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = concat(line + 1, ":", column + 1, ": ", message);
  }
  void AddWarning(int, int, const std::string&) override {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void to_message(const ManifestTable& table, Message::Table& to) {
  to.set_name(table.name);
  to.set_dim(table.dim);
  to.set_key_space(table.key_space);
  to.set_dense_rows(table.dense_rows);
  to.set_buckets(table.buckets);
  to.set_row_type(table.row_type);
  to.set_optimizer(table.optimizer);
  to.set_state_width(table.state_width);
  to.set_placement(table.placement);
  for (const ManifestPart& part : table.parts) {
    Message::Part& out = *to.add_part();
    out.set_file(part.file);
    out.set_first_bucket(part.buckets.first);
    out.set_last_bucket(part.buckets.last);
    out.set_first_column(part.columns.first);
    out.set_last_column(part.columns.last);
    out.set_rows(part.rows);
  }
}

Message to_message(const Manifest& manifest) {
  Message to;
  to.set_format_version(manifest.format_version);
  to.set_step(manifest.step);
  to.set_world(manifest.world);
  to.set_seed(manifest.seed);
  to.set_job_digest(manifest.job_digest);
  to.set_parent(manifest.parent);
  to.mutable_cursor()->set_epoch(manifest.cursor.epoch);
  to.mutable_cursor()->set_next(manifest.cursor.next);
  for (const ManifestFile& file : manifest.files) {
    Message::File& out = *to.add_file();
    out.set_name(file.name);
    out.set_bytes(file.bytes);
    out.set_sha256(file.sha256);
  }
  for (const ManifestTable& table : manifest.tables) to_message(table, *to.add_table());
  for (const ManifestTensor& tensor : manifest.tensors) {
    Message::DenseTensor& out = *to.add_dense_tensor();
    out.set_name(tensor.name);
    out.set_dtype(tensor.dtype);
    for (const int64_t size : tensor.shape) out.add_shape(size);
  }
  return to;
}

ManifestTable from_message(const Message::Table& from) {
  ManifestTable table{.name = from.name(),
                      .dim = from.dim(),
                      .key_space = from.key_space(),
                      .dense_rows = from.dense_rows(),
                      .buckets = from.buckets(),
                      .row_type = from.row_type(),
                      .optimizer = from.optimizer(),
                      .state_width = from.state_width(),
                      .placement = from.placement()};
  for (const Message::Part& part : from.part()) {
    table.parts.push_back({part.file(),
                           {part.first_bucket(), part.last_bucket()},
                           {part.first_column(), part.last_column()},
                           part.rows()});
  }
  return table;
}

Manifest from_message(const Message& from) {
  Manifest manifest{.format_version = from.format_version(),
                    .step = from.step(),
                    .world = from.world(),
                    .seed = from.seed(),
                    .job_digest = from.job_digest(),
                    .parent = from.parent(),
                    .cursor = {from.cursor().epoch(), from.cursor().next()}};
  for (const Message::File& file : from.file()) manifest.files.push_back({file.name(), file.bytes(), file.sha256()});
  for (const Message::Table& table : from.table()) manifest.tables.push_back(from_message(table));
  for (const Message::DenseTensor& tensor : from.dense_tensor()) {
    manifest.tensors.push_back({tensor.name(), tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}});
  }
  return manifest;
}

template <typename... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) throw StorageError(concat(parts...));
}

bool is_digest(const std::string& text) {
  return text.size() == kDigestDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void check_table(const Manifest& manifest, const ManifestTable& table) {
  const std::string what = concat("table \"", table.name, "\": ");
  require(table.dim >= 1 && table.dim <= 65536, what, "dim is ", table.dim);
  require(table.buckets >= 1 && table.buckets <= kMostBuckets && std::has_single_bit(uint64_t(table.buckets)), what,
          "buckets is ", table.buckets);
  require(table.state_width >= 0 && table.state_width <= 2 * table.dim, what, "state_width is ", table.state_width);
  int64_t next = 0, column = 0;  // what the parts before reach to
  for (size_t i = 0; i < table.parts.size(); ++i) {
    const ManifestPart& part = table.parts[i];
    require(manifest.file(part.file) != nullptr, what, "file \"", part.file, "\" is not in the list of files");
    require(part.buckets.first == next && part.buckets.last > next, what, "buckets [", part.buckets.first, ", ",
            part.buckets.last, ") do not follow bucket ", next);
    require(part.columns.first == column && part.columns.last > column && part.columns.last <= table.dim, what,
            "columns [", part.columns.first, ", ", part.columns.last, ") do not follow column ", column);
    const bool agrees =
        column == 0 || (part.buckets.last == table.parts[i - 1].buckets.last && part.rows == table.parts[i - 1].rows);
    require(part.rows >= 0 && agrees, what, "a part has ", part.rows, " rows of buckets [", part.buckets.first, ", ",
            part.buckets.last, ")");
    column = part.columns.last == table.dim ? 0 : part.columns.last;
    if (column == 0) next = part.buckets.last;
  }
  require(next == table.buckets && column == 0, what, "buckets from ", next, " on are missing");
}

void check_tensor(const ManifestTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) {
    require(size >= 0 && (size == 0 || elements <= std::numeric_limits<int64_t>::max() / 64 / size), "tensor \"",
            tensor.name, "\" has an impossible shape");
    elements *= size;
  }
}

/// Throws StorageError for what contradicts itself.
void check(const Manifest& manifest) {
  require(manifest.step >= 0, "step is ", manifest.step);
  require(manifest.world >= 1, "world is ", manifest.world);
  require(manifest.cursor.epoch >= 0 && manifest.cursor.next >= 0, "the cursor is negative");
  require(manifest.parent.empty(), "it adds to \"", manifest.parent, "\", which this version does not read");
  std::set<std::string> names;
  for (const ManifestFile& file : manifest.files) {
    require(is_plain_name(file.name) && file.name != kManifestName, "\"", file.name, "\" is no name for a file");
    require(names.insert(file.name).second, "file \"", file.name, "\" stands twice");
    require(file.bytes >= 0 && is_digest(file.sha256), "file \"", file.name, "\" has no size and digest");
  }
  names.clear();
  for (const ManifestTable& table : manifest.tables) {
    require(names.insert(table.name).second, "table \"", table.name, "\" stands twice");
    check_table(manifest, table);
  }
  names.clear();
  for (const ManifestTensor& tensor : manifest.tensors) {
    require(names.insert(tensor.name).second, "tensor \"", tensor.name, "\" stands twice");
    check_tensor(tensor);
  }
  require(manifest.tensors.empty() || manifest.file(kDenseFileName) != nullptr, "there is no ", kDenseFileName);
}

/// The text without its last line. Throws StorageError if that is not the digest of the rest.
std::string verified_body(const std::string& text) {
  const size_t line = sizeof(kDigestLine) - 1 + kDigestDigits + 1;
  require(text.size() >= line, "it is cut short");
  std::string body = text.substr(0, text.size() - line);
  require(text.substr(body.size()) == concat(kDigestLine, sha256_hex(body), "\n"),
          "it does not fit its own digest: it was changed or cut short");
  return body;
}

void refuse_newer_format(const std::string& body) {
  google::protobuf::TextFormat::Parser parser;
  FirstError ignored;
  parser.RecordErrorsTo(&ignored);
  parser.AllowUnknownField(true);
  parser.SetRecursionLimit(8);
  Message message;
  if (!parser.ParseFromString(body, &message) || message.format_version() <= kCheckpointFormat) return;
  throw ConfigError(concat("has format ", message.format_version(), ", and this program reads formats up to ",
                           kCheckpointFormat, ": use the version of Rondo that wrote it, or a newer one"));
}

Manifest parse(const std::string& text) {
  const std::string body = verified_body(text);
  refuse_newer_format(body);
  google::protobuf::TextFormat::Parser parser;
  FirstError error;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(8);
  Message message;
  require(parser.ParseFromString(body, &message), error.text());
  require(message.format_version() == kCheckpointFormat, "format ", message.format_version(), " is not known");
  Manifest manifest = from_message(message);
  check(manifest);
  return manifest;
}

}  // namespace

std::string rows_file_name(int rank) {
  char name[32];
  std::snprintf(name, sizeof(name), "rows-%05d.h5", rank);
  return name;
}

ManifestTable manifest_table(const TableSpec& spec) {
  return {.name = spec.name,
          .dim = spec.dim,
          .key_space = to_word(spec.key_space),
          .dense_rows = spec.key_space == KeySpace::kDense ? spec.rows : 0,
          .buckets = spec.buckets,
          .row_type = to_word(spec.row_type),
          .optimizer = to_word(spec.optimizer.kind),
          .state_width = state_width(spec.optimizer.kind, spec.dim),
          .placement = rondo::to_word(spec.placement)};
}

const ManifestFile* Manifest::file(std::string_view name) const {
  const auto found = std::ranges::find(files, name, &ManifestFile::name);
  return found == files.end() ? nullptr : &*found;
}

int64_t Manifest::bytes() const {
  int64_t sum = 0;
  for (const ManifestFile& file : files) sum += file.bytes;
  return sum;
}

std::string to_text(const Manifest& manifest) {
  try {
    check(manifest);
  } catch (const StorageError& error) {
    throw InternalError(concat("manifest to write: ", error.what()));
  }
  std::string body;
  RONDO_CHECK(google::protobuf::TextFormat::PrintToString(to_message(manifest), &body));
  return concat(body, kDigestLine, sha256_hex(body), "\n");
}

Manifest parse_manifest(const std::string& text, const std::filesystem::path& path) {
  try {
    return parse(text);
  } catch (const StorageError& error) {
    throw StorageError(concat(path.string(), ": ", error.what()), error.exit_code());
  } catch (const ConfigError& error) {
    throw ConfigError(concat(path.string(), " ", error.what()));
  }
}

bool is_plain_name(std::string_view name) {
  static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const auto is_letter = [](char c) { return kLetters.find(c) != std::string_view::npos; };
  return !name.empty() && name.size() <= 64 && is_letter(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return is_letter(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace rondo
