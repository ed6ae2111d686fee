#pragma once

#include <cstdint>
#include <string>

namespace rondo {

/// What validation has said so far. Kept in every checkpoint (kValidationFile), so that a resumed run selects and stops
/// as one that never ended, and so that a checkpoint names the best one.
struct ValidationState {
  int64_t best_step = 0;  // whose checkpoint is kept; 0: none yet
  double best_score = 0;
  int64_t since_best = 0;  // evaluations since then

  bool is_better(double score) const { return best_step == 0 || score > best_score; }
};

inline constexpr char kValidationFile[] = "validation.json";

std::string to_text(const ValidationState& state);

/// Throws StorageError for what `to_text` did not write; `where` is for the message.
ValidationState parse_validation_state(const std::string& text, const std::string& where);

}  // namespace rondo
