#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/eval/class_metrics.h"

namespace rondo {

/// What an evaluation of a classifier found.
struct ClassificationReport {
  int64_t step = -1;     // of the weights; below 0: not said
  std::string held_out;  // "valid", "test"
  int64_t examples = 0;
  std::vector<std::string> label_names;
  ClassMetrics model;
  ClassMetrics majority;  // the floor: always the most frequent class of training
  double seconds = 0;
};

/// One JSON object: {"event": "eval", "step": ..., "split": "test", "model": "rondo", "examples": ..., "labels": [...],
/// "metrics": {...}, "confusion": [[...]], "floors": {"majority": {...}}, "seconds": ...}.
std::string to_json(const ClassificationReport& report);

/// For people: metrics beside the floor, then the confusion matrix. Ends with a newline.
std::string to_table(const ClassificationReport& report);

}  // namespace rondo
