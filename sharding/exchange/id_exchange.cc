#include "sharding/exchange/id_exchange.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/copy_bytes.h"

namespace rondo {
namespace {

constexpr CallTag kCountsTag{Channel::kExchange, "row id counts"};
constexpr CallTag kIdsTag{Channel::kExchange, "row ids"};

constexpr int64_t kWord = sizeof(int64_t);

/// A segment of n ids is n keys, then their occurrences, two to a word, then what is attached, two to a word.
int64_t id_words(int64_t ids) { return ids + (ids + 1) / 2; }
int64_t attached_segment(int64_t attached) { return (attached + 1) / 2; }

int64_t* pack_ids(std::span<const uint64_t> keys, std::span<const int64_t> occurrences, int64_t* out) {
  out = std::copy(keys.begin(), keys.end(), out);
  for (size_t i = 0; i < keys.size(); i += 2) {
    const int64_t second = i + 1 < keys.size() ? occurrences[i + 1] : 0;
    *out++ = occurrences[i] | (second << 32);
  }
  return out;
}

int64_t* pack_attached(std::span<const int32_t> words, int64_t* out) {
  const int64_t length = attached_segment(static_cast<int64_t>(words.size()));
  if (words.size() % 2 != 0) out[length - 1] = 0;
  copy_bytes(words.data(), words.size_bytes(), out);
  return out + length;
}

const int64_t* unpack_ids(const int64_t* in, int64_t ids, ReceivedIds& received) {
  received.keys.insert(received.keys.end(), in, in + ids);
  in += ids;
  for (int64_t i = 0; i < ids; ++i) {
    received.occurrences.push_back((in[i / 2] >> (i % 2 * 32)) & 0x7fffffff);
  }
  return in + (ids + 1) / 2;
}

const int64_t* unpack_attached(const int64_t* in, int64_t words, ReceivedIds& received) {
  const size_t before = received.attached.size();
  received.attached.resize(before + static_cast<size_t>(words));
  copy_bytes(in, static_cast<size_t>(words) * sizeof(int32_t), received.attached.data() + before);
  return in + attached_segment(words);
}

int64_t sum_before(std::span<const int64_t> counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

/// What goes to one rank.
struct Segment {
  std::span<const uint64_t> keys;
  std::span<const int64_t> occurrences;
  std::span<const int32_t> attached;
};

Segment segment_for(const AskedIds& asked, int rank) {
  const auto first = static_cast<size_t>(asked.to_all ? 0 : sum_before(asked.rows, rank));
  const auto count = static_cast<size_t>(asked.rows[rank]);
  Segment segment{asked.keys.subspan(first, count), asked.occurrences.subspan(first, count), {}};
  if (asked.attached_words.empty()) return segment;
  const auto start = static_cast<size_t>(asked.to_all ? 0 : sum_before(asked.attached_words, rank));
  segment.attached = asked.attached.subspan(start, static_cast<size_t>(asked.attached_words[rank]));
  return segment;
}

/// Numbers a rank is sent before the ids, one table: rows, and with something attached also its words and `home`.
int64_t numbers_of(const AskedIds& asked) { return asked.attached_words.empty() ? 1 : 3; }

void reset(const AskedIds& asked, ReceivedIds& received) {
  received.rows.assign(asked.rows.begin(), asked.rows.end());
  received.home.assign(asked.home.begin(), asked.home.end());
  received.attached_words.assign(asked.attached_words.begin(), asked.attached_words.end());
}

}  // namespace

void IdExchange::send_counts(std::span<const AskedIds> asked, std::span<ReceivedIds> received) {
  RONDO_CHECK_EQ(asked.size(), received.size());
  const auto world = static_cast<size_t>(comm_.size());
  int64_t each_rank = 0;
  for (size_t t = 0; t < asked.size(); ++t) {
    each_rank += numbers_of(asked[t]);
    reset(asked[t], received[t]);
  }
  if (world == 1) return;
  const int64_t total = comm_.size() * each_rank;
  const at::Tensor send = send_.take(total, at::kLong);
  incoming_ = receive_.take(total, at::kLong);
  auto* out = send.mutable_data_ptr<int64_t>();
  for (size_t rank = 0; rank < world; ++rank) {
    for (const AskedIds& ids : asked) {
      *out++ = ids.rows[rank];
      if (ids.attached_words.empty()) continue;
      *out++ = ids.home[rank];
      *out++ = ids.attached_words[rank];
    }
  }
  const std::vector<int64_t> each(world, each_rank);
  under_way_ = comm_.all_to_all(send, each, incoming_, each, kCountsTag);
}

void IdExchange::take_counts(std::span<const AskedIds> asked, std::span<ReceivedIds> received) {
  if (under_way_ == nullptr) return;
  under_way_->wait();
  const auto* in = incoming_.const_data_ptr<int64_t>();
  for (size_t rank = 0; rank < static_cast<size_t>(comm_.size()); ++rank) {
    for (size_t t = 0; t < asked.size(); ++t) {
      received[t].rows[rank] = *in++;
      if (asked[t].attached_words.empty()) continue;
      received[t].home[rank] = *in++;
      received[t].attached_words[rank] = *in++;
    }
  }
}

void IdExchange::pack(std::span<const AskedIds> asked, int64_t* out) const {
  for (int rank = 0; rank < comm_.size(); ++rank) {
    if (rank == comm_.rank()) continue;
    for (const AskedIds& ids : asked) {
      const Segment segment = segment_for(ids, rank);
      out = pack_ids(segment.keys, segment.occurrences, out);
      out = pack_attached(segment.attached, out);
    }
  }
}

void IdExchange::unpack(std::span<const AskedIds> asked, const int64_t* in, std::span<ReceivedIds> received) const {
  for (ReceivedIds& table : received) {
    const auto total = static_cast<size_t>(sum_before(table.rows, comm_.size()));
    table.keys.clear();
    table.keys.reserve(total);
    table.occurrences.clear();
    table.occurrences.reserve(total);
    table.attached.clear();
  }
  for (int rank = 0; rank < comm_.size(); ++rank) {
    for (size_t t = 0; t < received.size(); ++t) {
      ReceivedIds& table = received[t];
      if (rank != comm_.rank()) {
        in = unpack_ids(in, table.rows[static_cast<size_t>(rank)], table);
        if (!table.attached_words.empty()) {
          in = unpack_attached(in, table.attached_words[static_cast<size_t>(rank)], table);
        }
        continue;
      }
      const Segment own = segment_for(asked[t], rank);
      table.keys.insert(table.keys.end(), own.keys.begin(), own.keys.end());
      table.occurrences.insert(table.occurrences.end(), own.occurrences.begin(), own.occurrences.end());
      table.attached.insert(table.attached.end(), own.attached.begin(), own.attached.end());
    }
  }
}

/// Words to and from each rank. Counts what is sent.
void IdExchange::lay_out(std::span<const AskedIds> asked, std::span<const ReceivedIds> received) {
  send_words_.assign(static_cast<size_t>(comm_.size()), 0);
  receive_words_.assign(static_cast<size_t>(comm_.size()), 0);
  for (int r = 0; r < comm_.size(); ++r) {
    const auto rank = static_cast<size_t>(r);
    if (r == comm_.rank()) continue;
    for (size_t t = 0; t < asked.size(); ++t) {
      const bool attached = !asked[t].attached_words.empty();
      const int64_t attached_out = attached ? attached_segment(asked[t].attached_words[rank]) : 0;
      const int64_t attached_in = attached ? attached_segment(received[t].attached_words[rank]) : 0;
      send_words_[rank] += id_words(asked[t].rows[rank]) + attached_out;
      receive_words_[rank] += id_words(received[t].rows[rank]) + attached_in;
      sent_bytes_ += id_words(asked[t].rows[rank]) * kWord;
      attached_bytes_ += attached_out * kWord;
    }
  }
}

void IdExchange::send_ids(std::span<const AskedIds> asked, std::span<ReceivedIds> received) {
  take_counts(asked, received);
  lay_out(asked, received);
  const int64_t outgoing = sum_before(send_words_, comm_.size()), incoming = sum_before(receive_words_, comm_.size());
  const at::Tensor send = send_.take(outgoing, at::kLong);
  incoming_ = receive_.take(incoming, at::kLong);
  pack(asked, send.mutable_data_ptr<int64_t>());
  if (comm_.size() > 1) under_way_ = comm_.all_to_all(send, send_words_, incoming_, receive_words_, kIdsTag);
}

void IdExchange::take_ids(std::span<const AskedIds> asked, std::span<ReceivedIds> received) {
  if (under_way_ != nullptr) std::exchange(under_way_, nullptr)->wait();
  unpack(asked, incoming_.const_data_ptr<int64_t>(), received);
}

}  // namespace rondo
