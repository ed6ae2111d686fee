#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace rondo::testing {

/// What a line of metrics.jsonl says of a training step, without its times.
struct TrainLine {
  int64_t step = 0;
  int64_t epoch = 0;
  double loss = 0;
  double lr = 0;

  bool operator==(const TrainLine&) const = default;
};

/// The lines of event "train", in order. Numbers are written so that they read back bit for bit.
inline std::vector<TrainLine> train_lines(const std::string& metrics) {
  std::vector<TrainLine> lines;
  std::istringstream stream(metrics);
  for (std::string text; std::getline(stream, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (line.is_discarded() || line.value("event", "") != "train") continue;
    lines.push_back({line.at("step"), line.at("epoch"), line.at("loss"), line.at("lr")});
  }
  return lines;
}

}  // namespace rondo::testing
