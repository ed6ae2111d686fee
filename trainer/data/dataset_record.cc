#include "trainer/data/dataset_record.h"

#include <google/protobuf/text_format.h>

#include "proto/dataset.pb.h"
#include "sharding/base/check.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr int kFormatVersion = 1;

proto::SplitKind to_proto(SplitKind kind) {
  switch (kind) {
    case SplitKind::kRandom:
      return proto::RANDOM;
    case SplitKind::kLeaveOneOut:
      return proto::LEAVE_ONE_OUT;
    case SplitKind::kLastBasketOut:
      return proto::LAST_BASKET_OUT;
    case SplitKind::kGlobalTime:
      return proto::GLOBAL_TIME;
  }
  return proto::LEAVE_ONE_OUT;
}

void fill_split(const SplitOptions& from, proto::Split& to) {
  to.set_kind(to_proto(from.kind));
  to.set_valid_fraction(from.valid_fraction);
  to.set_test_fraction(from.test_fraction);
  to.set_repeats(from.repeats == Repeats::kDrop ? proto::DROP : proto::KEEP_UNMASKED);
  to.set_min_user_events(from.min_user_events);
  to.set_seed(from.seed);
}

}  // namespace

SplitOptions split_from_proto(const proto::Split& from) {
  SplitOptions to;
  switch (from.kind()) {
    case proto::RANDOM:
      to.kind = SplitKind::kRandom;
      break;
    case proto::LEAVE_ONE_OUT:
      to.kind = SplitKind::kLeaveOneOut;
      break;
    case proto::LAST_BASKET_OUT:
      to.kind = SplitKind::kLastBasketOut;
      break;
    case proto::GLOBAL_TIME:
      to.kind = SplitKind::kGlobalTime;
      break;
  }
  to.valid_fraction = from.valid_fraction();
  to.test_fraction = from.test_fraction();
  to.repeats = from.repeats() == proto::DROP ? Repeats::kDrop : Repeats::kKeepUnmasked;
  to.min_user_events = from.min_user_events();
  to.seed = from.seed();
  return to;
}

void write_dataset_record(const std::filesystem::path& folder, const DatasetRecord& record) {
  proto::DatasetRecord out;
  out.set_format_version(kFormatVersion);
  RONDO_CHECK(google::protobuf::TextFormat::ParseFromString(record.schema_text, out.mutable_schema()), "schema text");
  fill_split(record.split, *out.mutable_split());
  out.set_users(record.users);
  out.set_items(record.items);
  out.set_events(record.events);
  out.set_rows_read(record.rows_read);
  out.set_rows_filtered(record.rows_filtered);
  out.set_duplicates_dropped(record.duplicates_dropped);
  for (const auto& [reason, count] : record.rejected) {
    auto* entry = out.add_rejected();
    entry->set_name(reason);
    entry->set_count(count);
  }
  for (const auto& name : record.behaviours) out.add_behaviour(name);
  if (!record.vocabulary_sha256.empty()) out.set_vocabulary_sha256(record.vocabulary_sha256);
  for (const auto& [name, digest] : record.digests) {
    auto* entry = out.add_file();
    entry->set_name(name);
    entry->set_sha256(digest);
  }
  std::string text;
  google::protobuf::TextFormat::PrintToString(out, &text);
  make_posix_file_system()->replace_file(folder / kDatasetRecordFile, text);
}

DatasetRecord read_dataset_record(const std::filesystem::path& folder) {
  const auto path = folder / kDatasetRecordFile;
  if (!std::filesystem::exists(path)) {
    throw DataError(
        concat("no dataset in ", folder.string(), ": there is no ", kDatasetRecordFile, " (rondo ingest makes one)"),
        ExitCode::kMissingInput);
  }
  proto::DatasetRecord in;
  if (!google::protobuf::TextFormat::ParseFromString(read_file(path, 1 << 24), &in)) {
    throw StorageError(path.string() + ": not a dataset record");
  }
  if (in.format_version() != kFormatVersion) {
    throw StorageError(
        concat(path.string(), ": format version ", in.format_version(), ", this rondo reads ", kFormatVersion));
  }
  DatasetRecord record;
  google::protobuf::TextFormat::PrintToString(in.schema(), &record.schema_text);
  record.split = split_from_proto(in.split());
  record.users = in.users();
  record.items = in.items();
  record.events = in.events();
  record.rows_read = in.rows_read();
  record.rows_filtered = in.rows_filtered();
  record.duplicates_dropped = in.duplicates_dropped();
  for (const auto& entry : in.rejected()) record.rejected[entry.name()] = entry.count();
  record.behaviours.assign(in.behaviour().begin(), in.behaviour().end());
  record.vocabulary_sha256 = in.vocabulary_sha256();
  for (const auto& entry : in.file()) record.digests[entry.name()] = entry.sha256();
  return record;
}

}  // namespace rondo
