#include "trainer/eval/index_lookup.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <unordered_map>

#include "sharding/base/check.h"
#include "trainer/eval/gather.h"

namespace rondo {
namespace {

/// Row of a place in this rank's shard, -1 if another rank has it.
int64_t row_of(const ItemIndex& index, int32_t place) {
  const auto& places = index.shard.places;
  const auto found = std::ranges::lower_bound(places, place);
  return found != places.end() && *found == place ? found - places.begin() : -1;
}

std::vector<uint8_t> gather_bytes(Communicator& comm, const std::vector<uint8_t>& mine, std::string_view what) {
  const auto sizes = gather_sizes(comm, static_cast<int64_t>(mine.size()), what);
  at::Tensor bytes = at::empty({static_cast<int64_t>(mine.size())}, at::kByte);
  std::ranges::copy(mine, bytes.mutable_data_ptr<uint8_t>());
  const at::Tensor all = gather_rows(comm, bytes, sizes, what);
  return {all.const_data_ptr<uint8_t>(), all.const_data_ptr<uint8_t>() + all.numel()};
}

/// Texts of all ranks' rows: which question each answers, and its two texts, one after the other.
struct FoundTexts {
  std::vector<int64_t> questions;
  std::vector<int64_t> lengths;  // [2 questions]
  std::vector<uint8_t> bytes;

  void add(int64_t question, std::string_view raw_key, std::string_view title) {
    questions.push_back(question);
    for (const std::string_view text : {raw_key, title}) {
      lengths.push_back(static_cast<int64_t>(text.size()));
      bytes.insert(bytes.end(), text.begin(), text.end());
    }
  }
};

}  // namespace

std::vector<int32_t> find_items(Communicator& comm, const ItemIndex& index, std::span<const std::string> raw_keys) {
  std::unordered_map<std::string_view, int64_t> rows;
  for (const std::string& raw : raw_keys) rows[raw] = -1;
  for (int64_t row = 0; row < index.shard.size(); ++row) {
    if (const auto asked = rows.find(index.raw_keys.at(row)); asked != rows.end()) asked->second = row;
  }
  std::vector<int32_t> places;
  for (const std::string& raw : raw_keys) {
    const int64_t row = rows.at(raw);
    const int64_t mine = row < 0 ? -1 : index.shard.places[static_cast<size_t>(row)];
    places.push_back(static_cast<int32_t>(largest_of(comm, mine, "place of an item")));
  }
  return places;
}

std::vector<ItemTexts> item_texts(Communicator& comm, const ItemIndex& index, std::span<const int32_t> places) {
  FoundTexts mine;
  for (size_t i = 0; i < places.size(); ++i) {
    const int64_t row = row_of(index, places[i]);
    if (row >= 0) mine.add(static_cast<int64_t>(i), index.raw_keys.at(row), index.titles.at(row));
  }
  const FoundTexts all{gather_values(comm, std::span<const int64_t>(mine.questions), "places of texts"),
                       gather_values(comm, std::span<const int64_t>(mine.lengths), "lengths of texts"),
                       gather_bytes(comm, mine.bytes, "texts of items")};
  RONDO_CHECK_EQ(all.questions.size(), places.size(), "texts of items");
  std::vector<ItemTexts> texts(places.size());
  auto next = all.bytes.begin();
  for (size_t i = 0; i < all.questions.size(); ++i) {
    ItemTexts& one = texts[static_cast<size_t>(all.questions[i])];
    for (const auto& [text, length] :
         {std::pair(&one.raw_key, all.lengths[2 * i]), {&one.title, all.lengths[2 * i + 1]}}) {
      text->assign(next, next + length);
      next += length;
    }
  }
  return texts;
}

at::Tensor history_vectors(Communicator& comm, const ItemIndex& index, std::span<const int32_t> places) {
  const auto sizes = gather_sizes(comm, static_cast<int64_t>(places.size()), "items of histories");
  const auto asked = gather_values(comm, places, "items of histories");
  // One rank fills each row, the others add zeros: the sum is exact.
  at::Tensor rows = at::zeros({static_cast<int64_t>(asked.size()), index.histories.size(1)}, at::kFloat);
  for (size_t i = 0; i < asked.size(); ++i) {
    const int64_t row = row_of(index, asked[i]);
    if (row >= 0) rows[static_cast<int64_t>(i)].copy_(index.histories[row]);
  }
  comm.all_reduce(rows, {Channel::kExchange, "history vectors"})->wait();
  int64_t first = 0;
  for (int rank = 0; rank < comm.rank(); ++rank) first += sizes[static_cast<size_t>(rank)];
  return rows.narrow(0, first, static_cast<int64_t>(places.size()));
}

}  // namespace rondo
