#include "trainer/data/examples.h"

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr double kMicrosecondsPerDay = 86'400e6;

int64_t user_of_event(const EventLog& events, int64_t event) {
  const auto after = std::upper_bound(events.user_offsets.begin(), events.user_offsets.end(), event);
  return after - events.user_offsets.begin() - 1;
}

void append_history(const EventLog& events, int64_t event, int64_t now, Batch& batch) {
  const auto e = static_cast<size_t>(event);
  batch.history_items.push_back(events.item[e]);
  batch.history_age_days.push_back(static_cast<float>(static_cast<double>(now - events.time[e]) / kMicrosecondsPerDay));
  batch.history_behaviours.push_back(events.behaviour[e]);
}

Batch empty_batch(int64_t examples) {
  const auto count = static_cast<size_t>(examples);
  Batch batch;
  batch.examples.reserve(count);
  batch.users.reserve(count);
  batch.targets.reserve(count);
  batch.weights.reserve(count);
  batch.history_offsets.reserve(count + 1);
  batch.history_offsets.push_back(0);
  batch.positive_offsets.reserve(count + 1);
  batch.positive_offsets.push_back(0);
  return batch;
}

void append_example(int64_t example, int64_t user, int32_t target, Batch& batch) {
  batch.examples.push_back(example);
  batch.users.push_back(user);
  batch.targets.push_back(target);
  batch.weights.push_back(1.0F);
}

}  // namespace

void validate(const ExampleOptions& options) {
  constexpr int64_t kMax = 100'000;
  if (options.history_max < 1 || options.history_max > kMax) {
    throw ConfigError(concat("history_max must be in [1, ", kMax, "], got ", options.history_max));
  }
}

TrainingExamples::TrainingExamples(const EventLog& events, const Split& split, const ExampleOptions& options,
                                   uint64_t seed)
    : events_(events), split_(split), options_(options), seed_(seed) {
  validate(options);
  RONDO_CHECK_EQ(split.is_training.size(), events.item.size(), "split of another log");
  targets_.reserve(split.training_targets.size());
  positives_.reserve(split.training_targets.size());
  positive_offsets_.reserve(static_cast<size_t>(events.users()) + 1);
  positive_offsets_.push_back(0);
  std::span<const int64_t> left(split.training_targets);
  for (int64_t user = 0; user < events.users(); ++user) {
    const int64_t end = events.user_offsets[static_cast<size_t>(user) + 1];
    const auto count = static_cast<size_t>(std::lower_bound(left.begin(), left.end(), end) - left.begin());
    find_targets(left.first(count));
    find_positives(left.first(count));
    left = left.subspan(count);
  }
  if (targets_.empty()) {
    throw DataError(
        concat("no training examples: of ", events.users(), " users none has two training events",
               options.history_same_time ? "" : " at different times (examples.history_same_time allows equal ones)"));
  }
  positives_.shrink_to_fit();
}

/// A target has a history if the user's first training event is one.
void TrainingExamples::find_targets(std::span<const int64_t> training) {
  if (training.empty()) return;
  const int64_t first_time = events_.time[static_cast<size_t>(training.front())];
  const auto has_history = [&](int64_t event) {
    return options_.history_same_time ? event > training.front()
                                      : events_.time[static_cast<size_t>(event)] > first_time;
  };
  for (const int64_t event : options_.last_only ? training.last(1) : training) {
    if (has_history(event)) targets_.push_back(event);
  }
}

void TrainingExamples::find_positives(std::span<const int64_t> training) {
  const auto before = static_cast<std::ptrdiff_t>(positives_.size());
  for (const int64_t event : training) positives_.push_back(events_.item[static_cast<size_t>(event)]);
  std::sort(positives_.begin() + before, positives_.end());
  positives_.erase(std::unique(positives_.begin() + before, positives_.end()), positives_.end());
  positive_offsets_.push_back(static_cast<int64_t>(positives_.size()));
}

Batch TrainingExamples::next(DataCursor& cursor, int64_t global_batch, int rank, int world) const {
  RONDO_CHECK(rank >= 0 && rank < world, "rank ", rank, " of ", world);
  const BatchRange range = next_range(cursor, global_batch, size());
  const int64_t begin = range.first + range.size * rank / world;
  const int64_t end = range.first + range.size * (rank + 1) / world;
  Batch batch = empty_batch(end - begin);
  batch.epoch = range.epoch;
  batch.first = range.first;
  batch.global_size = range.size;
  const Permutation order = epoch_order(size(), range.epoch, seed_);
  for (int64_t index = begin; index < end; ++index) {
    const int64_t target = targets_[order(static_cast<uint64_t>(index))];
    const int64_t user = user_of_event(events_, target);
    append_example(index, user, events_.item[static_cast<size_t>(target)], batch);
    append_inputs(target, user, batch);
  }
  return batch;
}

void TrainingExamples::append_inputs(int64_t target, int64_t user, Batch& batch) const {
  const auto u = static_cast<size_t>(user);
  const int64_t now = events_.time[static_cast<size_t>(target)];
  const auto first = events_.time.begin() + events_.user_offsets[u];
  const auto strict_end = std::lower_bound(first, events_.time.begin() + target, now) - events_.time.begin();
  const int64_t end = options_.history_same_time ? target : strict_end;
  int64_t begin = end;
  for (int64_t left = options_.history_max; left > 0 && begin > events_.user_offsets[u];) {
    left -= split_.is_training[static_cast<size_t>(--begin)];
  }
  for (int64_t event = begin; event < end; ++event) {
    if (split_.is_training[static_cast<size_t>(event)] != 0) append_history(events_, event, now, batch);
  }
  batch.history_offsets.push_back(static_cast<int64_t>(batch.history_items.size()));
  batch.positives.insert(batch.positives.end(), positives_.begin() + positive_offsets_[u],
                         positives_.begin() + positive_offsets_[u + 1]);
  batch.positive_offsets.push_back(static_cast<int64_t>(batch.positives.size()));
}

Batch make_inputs(const EventLog& events, std::span<const EvaluationCase> cases, const ExampleOptions& options) {
  validate(options);
  Batch batch = empty_batch(static_cast<int64_t>(cases.size()));
  batch.global_size = static_cast<int64_t>(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const EvaluationCase& one = cases[i];
    append_example(static_cast<int64_t>(i), one.user, -1, batch);
    const auto is_earlier = [&](int64_t event) { return events.time[static_cast<size_t>(event)] < one.time; };
    const auto end = options.history_same_time
                         ? one.history.end()
                         : std::partition_point(one.history.begin(), one.history.end(), is_earlier);
    const auto begin = end - std::min<std::ptrdiff_t>(options.history_max, end - one.history.begin());
    for (auto event = begin; event != end; ++event) append_history(events, *event, one.time, batch);
    batch.history_offsets.push_back(static_cast<int64_t>(batch.history_items.size()));
    batch.positive_offsets.push_back(0);
  }
  return batch;
}

}  // namespace rondo
