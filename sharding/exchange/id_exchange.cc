#include "sharding/exchange/id_exchange.h"

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr CallTag kCountsTag{Channel::kExchange, "row id counts"};
constexpr CallTag kIdsTag{Channel::kExchange, "row ids"};

/// A segment of n ids is n keys, then their occurrences, two to a word.
int64_t segment_words(int64_t ids) { return ids + (ids + 1) / 2; }

int64_t* pack_segment(std::span<const uint64_t> keys, std::span<const int64_t> occurrences, int64_t* out) {
  out = std::copy(keys.begin(), keys.end(), out);
  for (size_t i = 0; i < keys.size(); i += 2) {
    const int64_t second = i + 1 < keys.size() ? occurrences[i + 1] : 0;
    *out++ = occurrences[i] | (second << 32);
  }
  return out;
}

const int64_t* unpack_segment(const int64_t* in, int64_t ids, ReceivedIds& received) {
  received.keys.insert(received.keys.end(), in, in + ids);
  in += ids;
  for (int64_t i = 0; i < ids; ++i) {
    received.occurrences.push_back((in[i / 2] >> (i % 2 * 32)) & 0x7fffffff);
  }
  return in + (ids + 1) / 2;
}

int64_t first_key(const AskedIds& asked, int rank) {
  return asked.to_all ? 0 : std::accumulate(asked.rows.begin(), asked.rows.begin() + rank, int64_t{0});
}

}  // namespace

void IdExchange::exchange_counts(std::span<const AskedIds> asked, std::span<ReceivedIds> received) {
  RONDO_CHECK_EQ(asked.size(), received.size());
  const int world = comm_.size();
  const auto tables = static_cast<int64_t>(asked.size());
  for (size_t t = 0; t < asked.size(); ++t) received[t].rows.assign(asked[t].rows.begin(), asked[t].rows.end());
  if (world == 1) return;
  const at::Tensor send = send_.take(world * tables, at::kLong), receive = receive_.take(world * tables, at::kLong);
  auto* const out = send.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < world * tables; ++i) out[i] = asked[static_cast<size_t>(i % tables)].rows[i / tables];
  const std::vector<int64_t> each(static_cast<size_t>(world), tables);
  comm_.all_to_all(send, each, receive, each, kCountsTag)->wait();
  const auto* const in = receive.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < world * tables; ++i) received[static_cast<size_t>(i % tables)].rows[i / tables] = in[i];
}

void IdExchange::pack(std::span<const AskedIds> asked, int64_t* out) const {
  for (int rank = 0; rank < comm_.size(); ++rank) {
    if (rank == comm_.rank()) continue;
    for (const AskedIds& ids : asked) {
      const auto first = static_cast<size_t>(first_key(ids, rank)), count = static_cast<size_t>(ids.rows[rank]);
      out = pack_segment(ids.keys.subspan(first, count), ids.occurrences.subspan(first, count), out);
    }
  }
}

void IdExchange::unpack(std::span<const AskedIds> asked, const int64_t* in, std::span<ReceivedIds> received) const {
  for (size_t t = 0; t < received.size(); ++t) {
    const int64_t total = std::accumulate(received[t].rows.begin(), received[t].rows.end(), int64_t{0});
    received[t].keys.clear();
    received[t].keys.reserve(static_cast<size_t>(total));
    received[t].occurrences.clear();
    received[t].occurrences.reserve(static_cast<size_t>(total));
  }
  for (int rank = 0; rank < comm_.size(); ++rank) {
    for (size_t t = 0; t < received.size(); ++t) {
      const int64_t count = received[t].rows[static_cast<size_t>(rank)];
      if (rank != comm_.rank()) {
        in = unpack_segment(in, count, received[t]);
        continue;
      }
      const auto first = first_key(asked[t], rank);
      const auto keys = asked[t].keys.begin() + first;
      const auto occurrences = asked[t].occurrences.begin() + first;
      received[t].keys.insert(received[t].keys.end(), keys, keys + count);
      received[t].occurrences.insert(received[t].occurrences.end(), occurrences, occurrences + count);
    }
  }
}

void IdExchange::exchange_ids(std::span<const AskedIds> asked, std::span<ReceivedIds> received) {
  const int world = comm_.size();
  std::vector<int64_t> send_words(static_cast<size_t>(world)), receive_words(static_cast<size_t>(world));
  for (int rank = 0; rank < world; ++rank) {
    if (rank == comm_.rank()) continue;
    for (size_t t = 0; t < asked.size(); ++t) {
      send_words[static_cast<size_t>(rank)] += segment_words(asked[t].rows[rank]);
      receive_words[static_cast<size_t>(rank)] += segment_words(received[t].rows[static_cast<size_t>(rank)]);
    }
  }
  const int64_t outgoing = std::accumulate(send_words.begin(), send_words.end(), int64_t{0});
  const int64_t incoming = std::accumulate(receive_words.begin(), receive_words.end(), int64_t{0});
  const at::Tensor send = send_.take(outgoing, at::kLong), receive = receive_.take(incoming, at::kLong);
  pack(asked, send.mutable_data_ptr<int64_t>());
  if (world > 1) comm_.all_to_all(send, send_words, receive, receive_words, kIdsTag)->wait();
  sent_bytes_ += outgoing * static_cast<int64_t>(sizeof(int64_t));
  unpack(asked, receive.const_data_ptr<int64_t>(), received);
}

}  // namespace rondo
