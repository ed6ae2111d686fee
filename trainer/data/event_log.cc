#include "trainer/data/event_log.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/data/event_writer.h"
#include "trainer/data/text_storage.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

std::vector<int32_t> places_of(const std::vector<uint64_t>& keys, const Catalog& catalog,
                               const std::filesystem::path& path) {
  std::vector<int32_t> places(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const int64_t place = catalog.find(keys[i]);
    if (place < 0) throw StorageError(concat(path.string(), ": event ", i, " has an item that the catalogue lacks"));
    places[i] = static_cast<int32_t>(place);
  }
  return places;
}

}  // namespace

EventLog EventLog::open(const std::filesystem::path& dataset_folder, const Catalog& catalog) {
  const auto path = dataset_folder / kEventsFile;
  const Hdf5Reader file(path);
  EventLog log;
  log.user_keys = file.read<uint64_t>("users/keys");
  log.raw_users = read_texts("users/raw_keys", file, path);
  log.user_offsets = file.read<int64_t>("users/offsets");
  log.item = places_of(file.read<uint64_t>("events/item_keys"), catalog, path);
  log.time = file.read<int64_t>("events/time");
  log.behaviour = file.read<uint8_t>("events/behaviour");
  log.value = file.read<float>("events/value");
  log.basket = file.read<int64_t>("events/basket");
  const TextColumn names = read_texts("behaviour_names", file, path);
  for (size_t i = 0; i + 1 < names.offsets.size(); ++i) {
    log.behaviour_names.emplace_back(names.at(static_cast<int64_t>(i)));
  }
  check_offsets(log.user_offsets, log.events(), "users/offsets", path);
  const size_t events = log.item.size();
  if (log.time.size() != events || log.behaviour.size() != events || log.value.size() != events ||
      log.basket.size() != events || log.user_offsets.size() != log.user_keys.size() + 1) {
    throw StorageError(path.string() + ": columns of different lengths");
  }
  return log;
}

int64_t EventLog::find_user(std::string_view raw) const {
  for (int64_t user = 0; user < users(); ++user) {
    if (raw_users.at(user) == raw) return user;
  }
  return -1;
}

}  // namespace rondo
