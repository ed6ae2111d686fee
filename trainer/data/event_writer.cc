#include "trainer/data/event_writer.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/text_storage.h"

namespace rondo {
namespace {

constexpr size_t kBlock = 1 << 18;  // events

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& file, const std::vector<uint64_t>& item_keys)
    : file_(file), item_keys_(item_keys) {}

void EventWriter::add_user(uint64_t key, std::string_view raw, std::span<const SpooledEvent> events) {
  RONDO_CHECK(user_keys_.empty() || user_keys_.back() < key, "user keys do not ascend");
  RONDO_CHECK(!events.empty(), "a user without events");
  first_time_ = user_keys_.empty() ? events.front().time : std::min(first_time_, events.front().time);
  last_time_ = user_keys_.empty() ? events.back().time : std::max(last_time_, events.back().time);
  user_keys_.push_back(key);
  append_text(raw, raw_users_);
  for (const SpooledEvent& event : events) {
    items_.push_back(item_keys_[static_cast<size_t>(event.item)]);
    times_.push_back(event.time);
    baskets_.push_back(event.basket);
    behaviours_.push_back(event.behaviour);
    values_.push_back(event.value);
  }
  user_offsets_.push_back(user_offsets_.back() + static_cast<int64_t>(events.size()));
  if (items_.size() >= kBlock) flush();
}

void EventWriter::flush() {
  file_.append<uint64_t>("events/item_keys", items_);
  file_.append<int64_t>("events/time", times_);
  file_.append<int64_t>("events/basket", baskets_);
  file_.append<uint8_t>("events/behaviour", behaviours_);
  file_.append<float>("events/value", values_);
  items_.clear();
  times_.clear();
  baskets_.clear();
  behaviours_.clear();
  values_.clear();
}

void EventWriter::close(const Names& names) {
  flush();
  file_.set_attribute("format_version", kDatasetFormatVersion);
  file_.set_attribute("time_is_order", int64_t{names.time_is_order});
  file_.write<uint64_t>("users/keys", user_keys_);
  write_texts("users/raw_keys", raw_users_, file_);
  file_.write<int64_t>("users/offsets", user_offsets_);
  TextColumn behaviours;
  for (const auto& name : names.behaviours) append_text(name, behaviours);
  write_texts("behaviour_names", behaviours, file_);
  file_.close();
}

}  // namespace rondo
