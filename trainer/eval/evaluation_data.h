#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/split.h"

namespace rondo {

/// What a floor counts.
enum class FloorCounts : uint8_t {
  kTrain,          ///< the training events: what the model learned from
  kTrainAndValid,  ///< and the held-out pairs of valid: the floor of a model that is refitted before its test
};

constexpr const char* name_of(FloorCounts counts) { return counts == FloorCounts::kTrain ? "train" : "train+valid"; }

enum class HeldOut : uint8_t { kValid, kTest };

/// What an evaluation is about: a split of a dataset, and which held-out part of it. Refers to what it is made of.
struct EvaluationData {
  const Catalog& catalog;
  const EventLog& events;
  const Split& split;
  SplitOptions split_options;  // what `split` was made with; reports state it
  HeldOut held_out = HeldOut::kTest;

  std::string_view name() const { return held_out == HeldOut::kTest ? "test" : "valid"; }
  const std::vector<EvaluationCase>& cases() const { return held_out == HeldOut::kTest ? split.test : split.valid; }

  /// Ascending places; empty: the whole catalogue.
  std::span<const int32_t> candidates() const {
    return held_out == HeldOut::kTest ? split.candidates : split.valid_candidates;
  }
  int64_t candidate_count() const {
    return candidates().empty() ? catalog.items() : static_cast<int64_t>(candidates().size());
  }
};

}  // namespace rondo
