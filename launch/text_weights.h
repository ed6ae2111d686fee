#pragma once

#include <string>

#include "launch/job_options.h"
#include "launch/job_text.h"
#include "sharding/comm/communicator.h"
#include "trainer/telemetry/run_folder.h"
#include "trainer/text/text_tower.h"

namespace rondo {

/// As a job says it: "MEAN".
const char* name_of(TextPooling pooling);

/// What follows from `text.weights` becomes part of the job: shape, tokenizer, pooling, dropout. Does nothing without
/// the field, or where the folder is gone and the job says the shape, as that of a run does. Throws ConfigError with
/// the place of a field that contradicts the folder, and what `describe_text_folder` throws.
void adopt_text_weights(JobText& job);

/// Fills a tower named `prefix` from the job's `text.weights`, if it has any, and says so. What the folder lacks stays
/// random, but a projection between equal widths, which starts as the identity. Collective.
void start_text_tower(const JobOptions& job, const std::string& prefix, const TextTower& tower, Communicator& comm);

/// A run's model goes with the tokenizer in its checkpoints, wherever the job found it.
void use_kept_tokenizer(const RunFolder& run, JobOptions& job);

}  // namespace rondo
