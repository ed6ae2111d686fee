#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainer/data/event_spool.h"
#include "trainer/data/item_collector.h"
#include "trainer/data/key_dictionary.h"
#include "trainer/data/quarantine.h"

namespace rondo {

/// Where the rows of sources go.
struct IngestSink {
  ItemCollector& items;
  KeyDictionary& users;
  EventSpool& events;
  Quarantine& quarantine;
  int64_t next_ordinal = 0;  // of events without a time
  int64_t rows_filtered = 0;
  std::vector<std::string> behaviours = {};         // names, in order of first sight
  std::map<std::string, std::string> sources = {};  // read to their end: path -> SHA-256
};

}  // namespace rondo
