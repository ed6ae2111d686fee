#include "trainer/data/event_writer.h"

#include "sharding/base/hash.h"
#include "trainer/data/text_storage.h"

namespace rondo {
namespace {

constexpr size_t kBlock = 1 << 18;  // events

/// The same for two events of one user and time that come from equal source rows.
uint64_t fingerprint(const SpooledEvent& event) {
  return mix64(event.row_hash ^ mix64(static_cast<uint64_t>(event.item)));
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& folder, const std::vector<uint64_t>& item_keys)
    : file_(folder / kEventsFile), item_keys_(item_keys) {}

void EventWriter::add_user(uint64_t key, std::string_view raw, std::span<const SpooledEvent> events) {
  user_keys_.push_back(key);
  append_text(raw, raw_users_);
  seen_.clear();
  for (const SpooledEvent& event : events) {
    if (event.time != run_time_) seen_.clear();
    run_time_ = event.time;
    if (!seen_.insert(fingerprint(event)).second) {
      ++duplicates_;
      continue;
    }
    items_.push_back(item_keys_[static_cast<size_t>(event.item)]);
    times_.push_back(event.time);
    baskets_.push_back(event.basket);
    behaviours_.push_back(event.behaviour);
    values_.push_back(event.value);
    ++events_;
  }
  user_offsets_.push_back(events_);
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

void EventWriter::close(const std::vector<std::string>& behaviour_names) {
  flush();
  file_.write<uint64_t>("users/keys", user_keys_);
  write_texts("users/raw_keys", raw_users_, file_);
  file_.write<int64_t>("users/offsets", user_offsets_);
  TextColumn names;
  for (const auto& name : behaviour_names) append_text(name, names);
  write_texts("behaviour_names", names, file_);
  file_.close();
}

}  // namespace rondo
