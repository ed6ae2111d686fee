#pragma once

#include <cstdint>
#include <vector>

namespace rondo {

/// Of an event whose behaviour is not said: it weighs 1.
inline constexpr uint8_t kNoBehaviour = 255;

/// One rank's share of a global batch of (user, target, history) examples. b examples here, h history events in all.
/// The one way a model input is built: train, evaluate and recommend all make it with `make_inputs` (examples.h).
struct Batch {
  int64_t epoch = 0;
  int64_t first = 0;              // global index (in the epoch's order) of the first example of the *global* batch
  int64_t global_size = 0;        // examples of the global batch, over all ranks
  std::vector<int64_t> examples;  // [b], global indices: world-independent keys of randomness
  std::vector<int64_t> users;     // [b], place in EventLog
  std::vector<int32_t> targets;   // [b], place in the catalogue; -1 in evaluation
  std::vector<float> weights;     // [b], example weights

  std::vector<int64_t> history_offsets;     // [b + 1]
  std::vector<int32_t> history_items;       // [h], places; oldest first
  std::vector<float> history_age_days;      // [h], target's time minus event's time, >= 0
  std::vector<uint8_t> history_behaviours;  // [h]

  std::vector<int64_t> positive_offsets;  // [b + 1]: items of the user's training events, never negatives
  std::vector<int32_t> positives;         // places, ascending within an example

  int64_t size() const { return static_cast<int64_t>(targets.size()); }
};

}  // namespace rondo
