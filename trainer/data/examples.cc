#include "trainer/data/examples.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/permutation.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

constexpr double kMicrosecondsPerDay = 86'400e6;

int64_t user_of_event(const EventLog& events, int64_t event) {
  const auto after = std::upper_bound(events.user_offsets.begin(), events.user_offsets.end(), event);
  return after - events.user_offsets.begin() - 1;
}

void add_history_event(const EventLog& events, int64_t event, int64_t target_time, Batch& batch) {
  const auto e = static_cast<size_t>(event);
  batch.history_items.push_back(events.item[e]);
  const double age = static_cast<double>(target_time - events.time[e]) / kMicrosecondsPerDay;
  batch.history_age_days.push_back(static_cast<float>(std::max(age, 0.0)));
  batch.history_behaviours.push_back(events.behaviour[e]);
}

Batch empty_batch() {
  Batch batch;
  batch.history_offsets = {0};
  batch.positive_offsets = {0};
  return batch;
}

}  // namespace

void validate(const ExampleOptions& options) {
  if (options.history_max < 1 || options.history_max > 10'000) {
    throw ConfigError(concat("history_max must be from 1 to 10000, got ", options.history_max));
  }
}

TrainingExamples::TrainingExamples(const EventLog& events, const Split& split, const ExampleOptions& options,
                                   uint64_t seed)
    : events_(events), split_(split), options_(options), seed_(seed) {
  validate(options_);
  if (!options_.last_only) {
    targets_ = split.training_targets;
  } else {
    for (const int64_t event : split.training_targets) {
      const int64_t user = user_of_event(events, event);
      if (!targets_.empty() && user_of_event(events, targets_.back()) == user) targets_.pop_back();
      targets_.push_back(event);
    }
  }
  // An example without a history has no user vector to learn from.
  std::erase_if(targets_, [this](int64_t event) { return !has_history(event); });
  if (targets_.empty()) throw DataError("no training examples: no user has two training events at different times");
}

bool TrainingExamples::is_history_of(int64_t event, int64_t target) const {
  const auto e = static_cast<size_t>(event), t = static_cast<size_t>(target);
  return split_.is_training[e] != 0 && (options_.history_same_time || events_.time[e] < events_.time[t]);
}

bool TrainingExamples::has_history(int64_t target) const {
  const int64_t first = events_.user_offsets[static_cast<size_t>(user_of_event(events_, target))];
  for (int64_t event = first; event < target; ++event) {
    if (split_.is_training[static_cast<size_t>(event)] != 0) return is_history_of(event, target);
  }
  return false;
}

int64_t TrainingExamples::size() const { return static_cast<int64_t>(targets_.size()); }

void TrainingExamples::append(int64_t target, Batch& batch) const {
  const int64_t user = user_of_event(events_, target);
  const int64_t first = events_.user_offsets[static_cast<size_t>(user)];
  const int64_t last = events_.user_offsets[static_cast<size_t>(user) + 1];
  const auto t = static_cast<size_t>(target);
  batch.users.push_back(user);
  batch.targets.push_back(events_.item[t]);
  batch.weights.push_back(1.0F);

  int64_t begin = target, left = options_.history_max;
  while (begin > first && left > 0) left -= is_history_of(--begin, target) ? 1 : 0;
  for (int64_t event = begin; event < target; ++event) {
    if (is_history_of(event, target)) add_history_event(events_, event, events_.time[t], batch);
  }
  batch.history_offsets.push_back(static_cast<int64_t>(batch.history_items.size()));

  const auto from = static_cast<std::ptrdiff_t>(batch.positives.size());
  for (int64_t event = first; event < last; ++event) {
    if (split_.is_training[static_cast<size_t>(event)] != 0)
      batch.positives.push_back(events_.item[static_cast<size_t>(event)]);
  }
  std::sort(batch.positives.begin() + from, batch.positives.end());
  batch.positives.erase(std::unique(batch.positives.begin() + from, batch.positives.end()), batch.positives.end());
  batch.positive_offsets.push_back(static_cast<int64_t>(batch.positives.size()));
}

Batch TrainingExamples::next(DataCursor& cursor, int64_t global_batch, int rank, int world) const {
  RONDO_CHECK(cursor.next >= 0 && cursor.next < size(), "cursor ", cursor.next, " of ", size(), " examples");
  Batch batch = empty_batch();
  batch.epoch = cursor.epoch;
  batch.first = cursor.next;
  batch.global_size = std::min(global_batch, size() - cursor.next);
  const Permutation order(
      static_cast<uint64_t>(size()),
      CounterRandom(seed_, static_cast<uint64_t>(cursor.epoch), RandomPurpose::kExampleOrder).bits(0, 0));
  const int64_t begin = cursor.next + batch.global_size * rank / world;
  const int64_t end = cursor.next + batch.global_size * (rank + 1) / world;
  for (int64_t index = begin; index < end; ++index) {
    batch.examples.push_back(index);
    append(targets_[static_cast<size_t>(order(static_cast<uint64_t>(index)))], batch);
  }
  cursor.next += batch.global_size;
  if (cursor.next == size()) cursor = {cursor.epoch + 1, 0};
  return batch;
}

Batch make_inputs(const EventLog& events, std::span<const EvaluationCase> cases, const ExampleOptions& options) {
  Batch batch = empty_batch();
  for (const EvaluationCase& one : cases) {
    batch.users.push_back(one.user);
    batch.targets.push_back(-1);
    batch.weights.push_back(1.0F);
    const size_t count = std::min(one.history.size(), static_cast<size_t>(options.history_max));
    for (const int64_t event : std::span(one.history).last(count)) add_history_event(events, event, one.time, batch);
    batch.history_offsets.push_back(static_cast<int64_t>(batch.history_items.size()));
    batch.positive_offsets.push_back(0);
  }
  batch.global_size = batch.size();
  return batch;
}

}  // namespace rondo
