#include "trainer/data/hidden_items.h"

#include <algorithm>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/random.h"

namespace rondo {

void validate(const HiddenItemOptions& options) {
  if (options.fraction >= 0.0 && options.fraction < 1.0) return;
  throw ConfigError(concat("fraction must be in [0, 1), got ", options.fraction));
}

void hide_items(const EventLog& events, const Catalog& catalog, const HiddenItemOptions& options, Split& split) {
  validate(options);
  if (options.fraction == 0.0) return;
  const CounterRandom random(options.seed, 1, RandomPurpose::kSplit);
  std::vector<uint8_t> hides(static_cast<size_t>(catalog.items()), 0);
  for (int32_t place = 0; place < catalog.items(); ++place) {
    if (random.uniform(catalog.keys[static_cast<size_t>(place)], 0) >= options.fraction) continue;
    hides[static_cast<size_t>(place)] = 1;
    split.hidden.push_back(place);
    split.training_counts[static_cast<size_t>(place)] = 0;
  }
  const auto is_hidden = [&](int64_t event) {
    return hides[static_cast<size_t>(events.item[static_cast<size_t>(event)])] != 0;
  };
  for (int64_t event = 0; event < events.events(); ++event) {
    if (is_hidden(event)) split.is_training[static_cast<size_t>(event)] = 0;
  }
  std::erase_if(split.training_targets, is_hidden);
  split.users_without_history = 0;
  for (auto* cases : {&split.valid, &split.test}) {
    for (EvaluationCase& one : *cases) {
      std::erase_if(one.history, is_hidden);
      split.users_without_history += one.history.empty() ? 1 : 0;
    }
  }
}

}  // namespace rondo
