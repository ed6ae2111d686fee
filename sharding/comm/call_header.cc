#include "sharding/comm/call_header.h"

#include <algorithm>
#include <cstring>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

std::string_view name(Operation operation) {
  switch (operation) {
    case Operation::kAllReduce:
      return "all_reduce";
    case Operation::kReduceScatter:
      return "reduce_scatter";
    case Operation::kAllGather:
      return "all_gather";
    case Operation::kAllToAll:
      return "all_to_all";
    case Operation::kBroadcast:
      return "broadcast";
    case Operation::kBarrier:
      return "barrier";
    case Operation::kFailed:
      return "failed";
    case Operation::kGoodbye:
      return "goodbye";
  }
  return "unknown operation";
}

std::string_view name(Channel channel) {
  switch (channel) {
    case Channel::kControl:
      return "control";
    case Channel::kExchange:
      return "exchange";
    case Channel::kGradients:
      return "gradients";
    case Channel::kBackward:
      return "backward";
  }
  return "unknown channel";
}

std::string differences(const CallHeader& mine, const CallHeader& theirs) {
  std::string text;
  const auto note = [&](bool differs, std::string_view field) {
    if (differs) text += (text.empty() ? "" : ", ") + std::string(field);
  };
  note(mine.sequence != theirs.sequence, "sequence number");
  note(mine.operation != theirs.operation, "operation");
  note(mine.what_hash != theirs.what_hash, "purpose");
  note(mine.channel != theirs.channel, "channel");
  note(mine.dtype != theirs.dtype, "dtype");
  note(mine.device_calls != theirs.device_calls || mine.device_digest != theirs.device_digest, "device calls before");
  note(mine.send_bytes != theirs.receive_bytes || mine.receive_bytes != theirs.send_bytes, "bytes");
  return text;
}

std::string side(int rank, const CallHeader& header, int peer) {
  return concat("rank ", rank, " made ", describe(header), ", sends ", header.send_bytes, " bytes to rank ", peer,
                " and expects ", header.receive_bytes,
                header.device_calls > 0 ? concat(", after ", header.device_calls, " device calls") : std::string());
}

}  // namespace

CallHeader make_header(Operation operation, uint64_t sequence, at::ScalarType dtype, CallTag tag) {
  CallHeader header;
  header.sequence = sequence;
  header.what_hash = hash_bytes(tag.what);
  header.operation = operation;
  header.channel = tag.channel;
  header.dtype = dtype;
  header.what_length = static_cast<uint8_t>(std::min<size_t>(tag.what.size(), CallHeader::kWhatBytes));
  std::memcpy(header.what, tag.what.data(), header.what_length);
  return header;
}

std::string describe(const CallHeader& header) {
  return concat("call ", header.sequence, ": ", name(header.operation), " '", header.what_text(), "', channel ",
                name(header.channel), ", ", c10::toString(header.dtype));
}

bool agrees(const CallHeader& mine, const CallHeader& theirs) {
  return mine.sequence == theirs.sequence && mine.operation == theirs.operation && mine.what_hash == theirs.what_hash &&
         mine.channel == theirs.channel && mine.dtype == theirs.dtype && mine.send_bytes == theirs.receive_bytes &&
         mine.receive_bytes == theirs.send_bytes && mine.device_calls == theirs.device_calls &&
         mine.device_digest == theirs.device_digest;
}

std::string divergence(int rank, const CallHeader& mine, int peer, const CallHeader& theirs) {
  return concat("ranks ", rank, " and ", peer, " made different calls (", differences(mine, theirs),
                "): ", side(rank, mine, peer), "; ", side(peer, theirs, rank));
}

}  // namespace rondo
