#include "launch/profile_text.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "launch/proto_text.h"
#include "proto/profile.pb.h"
#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr uint64_t kLargestProfileBytes = 1 << 20;
constexpr double kNano = 1e-9, kMicro = 1e-6, kGiga = 1e9, kTera = 1e12;

LinkCost to_link(const proto::LinkCost& from) {
  LinkCost to{from.call_us() * kMicro, from.message_us() * kMicro};
  for (const proto::LinkRate& rate : from.rate()) to.rates.push_back({rate.message_bytes(), rate.gb_per_s() * kGiga});
  return to;
}

CollectiveCost to_collective(const proto::CollectiveCost& from, HardwareProfile& profile) {
  if (!from.has_across()) profile.knows_across = false;
  return {to_link(from.within()), to_link(from.has_across() ? from.across() : from.within())};
}

WorkRate to_work(const proto::WorkRate& from) {
  return {from.item_ns() * kNano, from.gb_per_s() == 0.0 ? 0.0 : 1.0 / (from.gb_per_s() * kGiga)};
}

WayRates to_way(const proto::WayRates& from) {
  WayRates to{.ask = to_work(from.ask()),
              .hear = to_work(from.hear()),
              .pool = to_work(from.pool()),
              .unpool = to_work(from.unpool()),
              .leaf = to_work(from.leaf()),
              .answer = to_work(from.answer()),
              .merge = to_work(from.merge()),
              .memory = {}};
  for (const proto::MemoryPoint& point : from.memory()) {
    to.memory.push_back({point.table_bytes(), to_work(point.find()), to_work(point.gather()), to_work(point.update())});
  }
  return to;
}

HardwareProfile to_profile(const proto::HardwareProfile& from) {
  HardwareProfile to;
  to.name = from.name();
  to.memory_bytes = from.memory_gb() * kGiga;
  to.ranks_per_node = from.ranks_per_node();
  to.all_to_all = to_collective(from.all_to_all(), to);
  to.all_gather = to_collective(from.all_gather(), to);
  to.reduce_scatter = to_collective(from.reduce_scatter(), to);
  to.all_reduce = to_collective(from.all_reduce(), to);
  to.step_seconds = from.step_us() * kMicro;
  to.table_seconds = from.table_us() * kMicro;
  to.peer_step_seconds = from.peer_step_us() * kMicro;
  to.peer_table_seconds = from.peer_table_us() * kMicro;
  to.rows = to_way(from.rows());
  to.sums = to_way(from.sums());
  to.flops_per_second = from.dense_tflops() * kTera;
  return to;
}

/// Four digits: more would say more than was measured.
double rounded(double value) {
  std::ostringstream out;
  out.precision(4);
  out << value;
  return std::stod(out.str());
}

void write_link(const LinkCost& from, proto::LinkCost& to) {
  to.set_call_us(rounded(from.call_seconds / kMicro));
  to.set_message_us(rounded(from.message_seconds / kMicro));
  for (const RatePoint& point : from.rates) {
    proto::LinkRate& rate = *to.add_rate();
    rate.set_message_bytes(rounded(point.message_bytes));
    rate.set_gb_per_s(rounded(point.bytes_per_second / kGiga));
  }
}

void write_collective(const CollectiveCost& from, bool across, proto::CollectiveCost& to) {
  write_link(from.within, *to.mutable_within());
  if (across) write_link(from.across, *to.mutable_across());
}

void write_work(const WorkRate& from, proto::WorkRate& to) {
  to.set_item_ns(rounded(from.item_seconds / kNano));
  if (from.byte_seconds > 0.0) to.set_gb_per_s(rounded(1.0 / (from.byte_seconds * kGiga)));
}

void write_way(const WayRates& from, proto::WayRates& to) {
  write_work(from.ask, *to.mutable_ask());
  write_work(from.hear, *to.mutable_hear());
  write_work(from.pool, *to.mutable_pool());
  write_work(from.unpool, *to.mutable_unpool());
  write_work(from.leaf, *to.mutable_leaf());
  write_work(from.answer, *to.mutable_answer());
  write_work(from.merge, *to.mutable_merge());
  for (const MemoryPoint& point : from.memory) {
    proto::MemoryPoint& out = *to.add_memory();
    out.set_table_bytes(rounded(point.table_bytes));
    write_work(point.find, *out.mutable_find());
    write_work(point.gather, *out.mutable_gather());
    write_work(point.update, *out.mutable_update());
  }
}

HardwareProfile parse_profile(const std::string& text, const std::string& place) {
  proto::HardwareProfile message;
  parse_proto(text, place, true, message, nullptr);
  HardwareProfile profile = to_profile(message);
  try {
    validate(profile);
  } catch (const ConfigError& error) {
    throw ConfigError(place + ": " + error.what());
  }
  return profile;
}

}  // namespace

HardwareProfile load_profile(const std::string& file_or_name) {
  if (std::filesystem::exists(file_or_name)) {
    return parse_profile(read_file(file_or_name, kLargestProfileBytes), file_or_name);
  }
  std::vector<std::string> names;
  for (const BuiltInProfile& profile : kBuiltInProfiles) {
    if (file_or_name == profile.name) return parse_profile(profile.text, concat("profile ", profile.name));
    names.emplace_back(profile.name);
  }
  std::string list;
  for (const std::string& name : names) list += concat(list.empty() ? "" : ", ", name);
  throw ConfigError(concat("--profile ", file_or_name, ": neither a file nor one of the profiles of this binary (",
                           list, ")", did_you_mean(file_or_name, names)));
}

std::string profile_text(const HardwareProfile& profile, const std::string& comment) {
  proto::HardwareProfile to;
  to.set_name(profile.name);
  to.set_memory_gb(rounded(profile.memory_bytes / kGiga));
  to.set_ranks_per_node(profile.ranks_per_node);
  write_collective(profile.all_to_all, profile.knows_across, *to.mutable_all_to_all());
  write_collective(profile.all_gather, profile.knows_across, *to.mutable_all_gather());
  write_collective(profile.reduce_scatter, profile.knows_across, *to.mutable_reduce_scatter());
  write_collective(profile.all_reduce, profile.knows_across, *to.mutable_all_reduce());
  to.set_step_us(rounded(profile.step_seconds / kMicro));
  to.set_table_us(rounded(profile.table_seconds / kMicro));
  to.set_peer_step_us(rounded(profile.peer_step_seconds / kMicro));
  to.set_peer_table_us(rounded(profile.peer_table_seconds / kMicro));
  write_way(profile.rows, *to.mutable_rows());
  write_way(profile.sums, *to.mutable_sums());
  to.set_dense_tflops(rounded(profile.flops_per_second / kTera));
  std::string text, lines;
  google::protobuf::TextFormat::PrintToString(to, &text);
  std::istringstream in(comment);
  for (std::string line; std::getline(in, line);) lines += "# " + line + "\n";
  return lines + text;
}

}  // namespace rondo
