#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/job_options.h"
#include "sharding/comm/communicator.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/loop/classifier.h"
#include "trainer/loop/classifier_data.h"
#include "trainer/telemetry/run_folder.h"

namespace rondo {

/// The classes in a classifier's checkpoint, which has the job and the tokenizer, too.
inline constexpr char kLabelsFile[] = "labels.json";

/// The classifier of a job with what the dataset says: vocabulary, classes and their weights. Throws ConfigError for a
/// class that the dataset lacks.
ClassifierOptions classifier_for(const JobOptions& job, const ClassifierData& data);

/// What a checkpoint needs so that it answers alone.
std::map<std::string, std::string> classifier_texts(const ClassifierData& data);

/// Class names in their order. Throws StorageError for what `classifier_texts` did not write.
std::vector<std::string> parse_labels(const std::string& text, const std::string& where);

/// Throws ConfigError with both lists unless the classes of the dataset are those that the checkpoint tells apart.
void require_classes_of(const CheckpointReader& reader, const ClassifierData& data);

/// The checkpoint of a run that answers: the named one; else the one that validation likes best, as the newest says;
/// else the newest. Throws DataError (kMissingInput) when there is none. Collective.
CheckpointReader open_answering(const RunFolder& run, const std::string& checkpoint, Communicator& comm);

/// Fills the model's parameters; returns the step of the weights. Collective.
int64_t load_weights(const CheckpointReader& reader, const TextClassifier& model);

}  // namespace rondo
