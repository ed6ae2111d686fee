#include "trainer/model/model_options.h"

#include <cmath>

#include "sharding/base/check.h"

namespace rondo {
namespace {

void require(bool holds, const char* field, double value, const char* range) {
  if (!holds) throw ConfigError(concat(field, " must be ", range, ", got ", value));
}

}  // namespace

void validate(const ModelOptions& options) {
  require(options.dim >= 1 && options.dim <= 4096, "dim", static_cast<double>(options.dim), "from 1 to 4096");
  const auto finite_from_zero = [](double value) { return value >= 0.0 && std::isfinite(value); };
  require(finite_from_zero(options.item.id_beta), "id_beta", options.item.id_beta, "0 or more");
  require(finite_from_zero(options.item.bag_beta), "bag_beta", options.item.bag_beta, "0 or more");
  require(finite_from_zero(options.item.text_beta), "text_beta", options.item.text_beta, "0 or more");
  const double betas = options.item.id_beta + options.item.bag_beta + options.item.text_beta;
  require(betas > 0.0, "id_beta + bag_beta + text_beta", betas, "above 0");
  require(options.item.id_dropout >= 0.0 && options.item.id_dropout < 1.0, "id_dropout", options.item.id_dropout,
          "in [0, 1)");
  require(options.user.half_life_days > 0.0, "half_life_days", options.user.half_life_days, "above 0");
  require(options.user.half_life_events > 0.0, "half_life_events", options.user.half_life_events, "above 0");
  for (const double weight : options.user.behaviour_weights) {
    require(finite_from_zero(weight), "behaviour_weights", weight, "0 or more");
  }
  const double temperature = options.interaction.temperature;
  require(temperature > 0.0 && std::isfinite(temperature), "temperature", temperature, "above 0");
  require(options.loss.minimum_probability > 0.0 && options.loss.minimum_probability < 1.0, "minimum_probability",
          options.loss.minimum_probability, "in (0, 1)");
  const int64_t positions = options.text.max_position_embeddings;
  require(options.max_tokens >= 3 && (options.item.text_beta == 0.0 || options.max_tokens <= positions), "max_tokens",
          static_cast<double>(options.max_tokens),
          concat("from 3 to max_position_embeddings (", positions, ")").c_str());
  require(options.text_refresh_steps >= 1, "refresh_steps", static_cast<double>(options.text_refresh_steps),
          "1 or more");
}

}  // namespace rondo
