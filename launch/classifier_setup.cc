#include "launch/classifier_setup.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/loop/validation_state.h"

namespace rondo {
namespace {

/// Weights with which every class counts alike.
std::vector<double> balanced_weights(const ClassifierData& data) {
  std::vector<double> counts(data.examples.label_names.size());
  for (const int64_t i : data.split.train) ++counts[static_cast<size_t>(data.examples.labels[static_cast<size_t>(i)])];
  const double fair = static_cast<double>(data.split.train.size()) / static_cast<double>(counts.size());
  for (double& count : counts) count = fair / count;
  return counts;
}

}  // namespace

ClassifierOptions classifier_for(const JobOptions& job, const ClassifierData& data) {
  ClassifierOptions options = job.classification.classifier;
  const std::vector<std::string>& names = data.examples.label_names;
  options.model.tower.vocabulary_size = std::max(options.model.tower.vocabulary_size, data.vocabulary_size);
  options.model.classes = data.examples.classes();
  if (job.classification.balance_classes) options.class_weights = balanced_weights(data);
  for (const NamedWeight& entry : job.classification.class_weights) {
    const auto found = std::ranges::find(names, entry.name);
    if (found == names.end()) {
      throw ConfigError(concat("task.classification.class_weight: the dataset has no class \"", entry.name, "\"",
                               did_you_mean(entry.name, names)));
    }
    if (options.class_weights.empty()) options.class_weights.assign(names.size(), 1.0);
    options.class_weights[static_cast<size_t>(found - names.begin())] *= entry.weight;
  }
  return options;
}

std::map<std::string, std::string> classifier_texts(const ClassifierData& data) {
  return {{kLabelsFile, nlohmann::json(data.examples.label_names).dump() + "\n"}, {kTokenizerFile, data.tokenizer}};
}

std::vector<std::string> parse_labels(const std::string& text, const std::string& where) {
  try {
    return nlohmann::json::parse(text).get<std::vector<std::string>>();
  } catch (const nlohmann::json::exception& error) {
    throw StorageError(where + " is not what was written: " + error.what());
  }
}

void require_classes_of(const CheckpointReader& reader, const ClassifierData& data) {
  const auto list = [](const std::vector<std::string>& names) { return nlohmann::json(names).dump(); };
  const auto learnt = parse_labels(reader.text(kLabelsFile), (reader.folder() / kLabelsFile).string());
  if (learnt == data.examples.label_names) return;
  throw ConfigError(concat("the dataset has the classes ", list(data.examples.label_names), ", the checkpoint ",
                           reader.folder().string(), " was trained on ", list(learnt)));
}

CheckpointReader open_answering(const RunFolder& run, const std::string& checkpoint, Communicator& comm) {
  if (!checkpoint.empty()) return CheckpointReader::open(run.checkpoints() / checkpoint, comm);
  auto newest = CheckpointReader::open_latest(run.checkpoints(), comm);
  if (!newest) throw DataError(concat("no checkpoint in ", run.checkpoints().string()), ExitCode::kMissingInput);
  if (newest->manifest().file(kValidationFile) == nullptr) return std::move(*newest);
  const auto state =
      parse_validation_state(newest->text(kValidationFile), (newest->folder() / kValidationFile).string());
  if (state.best_step == 0 || state.best_step == newest->manifest().step) return std::move(*newest);
  return CheckpointReader::open(run.checkpoints() / checkpoint_name(state.best_step), comm);
}

int64_t load_weights(const CheckpointReader& reader, const TextClassifier& model) {
  CheckpointContent content = checkpoint_content(model, /*seed=*/0, /*optimizer=*/nullptr);
  reader.load(content, LoadScope::kWeights);
  return content.step;
}

}  // namespace rondo
