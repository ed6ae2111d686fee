#include "trainer/loop/validation_state.h"

#include <nlohmann/json.hpp>

#include "sharding/base/error.h"

namespace rondo {

std::string to_text(const ValidationState& state) {
  const nlohmann::ordered_json json{
      {"best_step", state.best_step}, {"best_score", state.best_score}, {"since_best", state.since_best}};
  return json.dump() + "\n";
}

ValidationState parse_validation_state(const std::string& text, const std::string& where) {
  try {
    const auto json = nlohmann::json::parse(text);
    return {json.at("best_step").get<int64_t>(), json.at("best_score").get<double>(),
            json.at("since_best").get<int64_t>()};
  } catch (const nlohmann::json::exception& error) {
    throw StorageError(where + " is not what was written: " + error.what());
  }
}

}  // namespace rondo
