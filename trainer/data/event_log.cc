#include "trainer/data/event_log.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/text_storage.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

constexpr int64_t kGrain = 1 << 16;  // events

std::vector<int32_t> places_of(const std::vector<uint64_t>& keys, const Catalog& catalog,
                               const std::filesystem::path& path) {
  std::vector<int32_t> places(keys.size());
  parallel_for(static_cast<int64_t>(keys.size()), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t place = catalog.find(keys[static_cast<size_t>(i)]);
      if (place < 0) {
        throw StorageError(concat(path.string(), ": event ", i, " is of item ", keys[static_cast<size_t>(i)],
                                  ", which the catalogue lacks"));
      }
      places[static_cast<size_t>(i)] = static_cast<int32_t>(place);
    }
  });
  return places;
}

void check_window(const EventLog& window, const std::filesystem::path& path) {
  const auto events = static_cast<size_t>(window.events());
  check_offsets(window.user_offsets, {window.users(), window.events()}, "users/offsets", path);
  check_length(window.time.size(), events, "events/time", path);
  check_length(window.behaviour.size(), events, "events/behaviour", path);
  check_length(window.value.size(), events, "events/value", path);
  check_length(window.basket.size(), events, "events/basket", path);
  const auto unordered = std::adjacent_find(window.user_keys.begin(), window.user_keys.end(), std::greater_equal<>());
  if (unordered != window.user_keys.end()) {
    throw StorageError(concat(path.string(), ": users/keys does not ascend at ", *unordered));
  }
  const auto highest = std::max_element(window.behaviour.begin(), window.behaviour.end());
  if (highest != window.behaviour.end() && *highest >= window.behaviour_names.size()) {
    throw StorageError(concat(path.string(), ": behaviour ", int{*highest}, " has no name"));
  }
}

EventLog read_window(const std::filesystem::path& path, const Catalog& catalog) {
  const Hdf5Reader file(path);
  check_format(file, path);
  EventLog window;
  WindowUsers users = read_window_users(path);
  window.user_keys = std::move(users.keys);
  window.raw_users = std::move(users.raw);
  window.user_offsets = file.read<int64_t>("users/offsets");
  window.item = places_of(file.read<uint64_t>("events/item_keys"), catalog, path);
  window.time = file.read<int64_t>("events/time");
  window.behaviour = file.read<uint8_t>("events/behaviour");
  window.value = file.read<float>("events/value");
  window.basket = file.read<int64_t>("events/basket");
  window.time_is_order = file.attribute_int("time_is_order") != 0;
  const TextColumn names = read_texts("behaviour_names", file, path);
  for (size_t i = 0; i + 1 < names.offsets.size(); ++i) {
    window.behaviour_names.emplace_back(names.at(static_cast<int64_t>(i)));
  }
  check_window(window, path);
  return window;
}

/// Gives every window the same list of behaviours.
void unify_behaviours(std::vector<EventLog>& windows) {
  std::vector<std::string> names;
  for (EventLog& window : windows) {
    std::vector<uint8_t> renamed;
    for (const std::string& name : window.behaviour_names) {
      const auto found = std::find(names.begin(), names.end(), name);
      renamed.push_back(static_cast<uint8_t>(found - names.begin()));
      if (found == names.end()) names.push_back(name);
    }
    for (uint8_t& behaviour : window.behaviour) behaviour = renamed[behaviour];
  }
  if (names.size() > 255) throw DataError(concat("the windows have ", names.size(), " behaviours, at most 255 fit"));
  for (EventLog& window : windows) window.behaviour_names = names;
}

/// Joins windows that are each sorted; at one time, the earlier window comes first.
class WindowMerger {
 public:
  explicit WindowMerger(std::vector<EventLog> windows) : windows_(std::move(windows)), next_(windows_.size(), 0) {}

  EventLog merge() {
    unify_behaviours(windows_);
    merged_.behaviour_names = windows_.front().behaviour_names;
    merged_.time_is_order = windows_.front().time_is_order;
    merged_.user_offsets.push_back(0);
    while (const auto key = next_key()) append_user(*key);
    return std::move(merged_);
  }

 private:
  struct Place {
    const EventLog* window;
    size_t event;

    int64_t time() const { return window->time[event]; }
  };

  bool is_next(size_t window, uint64_t key) const {
    const auto& keys = windows_[window].user_keys;
    return next_[window] < keys.size() && keys[next_[window]] == key;
  }

  std::optional<uint64_t> next_key() const {
    std::optional<uint64_t> least;
    for (size_t w = 0; w < windows_.size(); ++w) {
      const auto& keys = windows_[w].user_keys;
      if (next_[w] < keys.size() && (!least || keys[next_[w]] < *least)) least = keys[next_[w]];
    }
    return least;
  }

  void append_user(uint64_t key) {
    events_.clear();
    std::string_view raw;
    for (size_t w = 0; w < windows_.size(); ++w) {
      if (!is_next(w, key)) continue;
      const size_t user = next_[w]++;
      raw = windows_[w].raw_users.at(static_cast<int64_t>(user));
      const auto end = static_cast<size_t>(windows_[w].user_offsets[user + 1]);
      for (auto event = static_cast<size_t>(windows_[w].user_offsets[user]); event < end; ++event) {
        events_.push_back({&windows_[w], event});
      }
    }
    std::stable_sort(events_.begin(), events_.end(),
                     [](const Place& a, const Place& b) { return a.time() < b.time(); });
    for (const Place& place : events_) append_event(place);
    merged_.user_keys.push_back(key);
    append_text(raw, merged_.raw_users);
    merged_.user_offsets.push_back(merged_.events());
  }

  void append_event(const Place& place) {
    merged_.item.push_back(place.window->item[place.event]);
    merged_.time.push_back(place.window->time[place.event]);
    merged_.behaviour.push_back(place.window->behaviour[place.event]);
    merged_.value.push_back(place.window->value[place.event]);
    merged_.basket.push_back(place.window->basket[place.event]);
  }

  std::vector<EventLog> windows_;
  std::vector<size_t> next_;  // per window: its first user that is not merged yet
  std::vector<Place> events_;
  EventLog merged_;
};

}  // namespace

WindowUsers read_window_users(const std::filesystem::path& events_file) {
  const Hdf5Reader file(events_file);
  check_format(file, events_file);
  WindowUsers users{file.read<uint64_t>("users/keys"), read_texts("users/raw_keys", file, events_file)};
  check_length(users.raw.offsets.size(), users.keys.size() + 1, "users/raw_keys/offsets", events_file);
  return users;
}

EventLog EventLog::open(const std::filesystem::path& dataset_folder, const Catalog& catalog) {
  std::vector<EventLog> windows;
  for (const auto& path : events_files_of(dataset_folder)) windows.push_back(read_window(path, catalog));
  return windows.size() == 1 ? std::move(windows.front()) : WindowMerger(std::move(windows)).merge();
}

int64_t EventLog::find_user(std::string_view raw) const {
  for (int64_t user = 0; user < users(); ++user) {
    if (raw_users.at(user) == raw) return user;
  }
  return -1;
}

}  // namespace rondo
