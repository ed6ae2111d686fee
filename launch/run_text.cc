#include "launch/run_text.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "sharding/base/check.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/text/text_folder.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {
namespace {

constexpr char kPrefix[] = "text.";
constexpr uint64_t kSeed = 0;  // every parameter is filled in

CheckpointReader open_checkpoint(const RunFolder& run, const std::string& checkpoint, Communicator& comm) {
  if (!checkpoint.empty()) return CheckpointReader::open(run.checkpoints() / checkpoint, comm);
  auto reader = CheckpointReader::open_latest(run.checkpoints(), comm);
  if (!reader) throw DataError(concat("no checkpoint in ", run.checkpoints().string()), ExitCode::kMissingInput);
  return *std::move(reader);
}

const ManifestTensor* find(const Manifest& manifest, const std::string& name) {
  const auto found = std::ranges::find(manifest.tensors, name, &ManifestTensor::name);
  return found == manifest.tensors.end() ? nullptr : &*found;
}

}  // namespace

TextModel open_run_text(const RunFolder& run, const std::string& checkpoint, const JobOptions& job,
                        Communicator& comm) {
  const CheckpointReader reader = open_checkpoint(run, checkpoint, comm);
  const ManifestTensor* words = find(reader.manifest(), concat(kPrefix, "embeddings.word_embeddings.weight"));
  if (words == nullptr) {
    throw ConfigError(concat(reader.folder().string(), " holds no text tower: its job reads no texts"));
  }
  SavedTokenizer saved = parse_tokenizer_json(reader.text(kTokenizerFile), (reader.folder() / kTokenizerFile).string());
  TextModel model;
  model.options = job.model.text;
  model.max_tokens = job.model.max_tokens;
  model.name = reader.folder().string();
  model.options.vocabulary_size = words->shape.at(0);
  const ManifestTensor* projection = find(reader.manifest(), concat(kPrefix, "projection.weight"));
  model.options.output_size = projection == nullptr ? 0 : projection->shape.at(0);
  model.tokenizer = std::make_unique<const WordPiece>(std::move(saved.vocabulary), saved.options);
  // The tower of an item leaves this to the mix.
  const bool classifies = find(reader.manifest(), "classifier.weight") != nullptr;
  model.options.normalize = job.model.item.normalize_text && !classifies;
  model.tower = std::make_unique<const TextTower>(model.options, "", kSeed, job.model.dtype);
  CheckpointContent content;
  for (const NamedParameter& parameter : model.tower->parameters()) {
    content.dense.push_back({kPrefix + parameter.name, parameter.value});
  }
  if (classifies) {
    for (const char* name : {"classifier.weight", "classifier.bias"}) {
      const ManifestTensor* tensor = find(reader.manifest(), name);
      if (tensor == nullptr) throw StorageError(concat(reader.folder().string(), ": no parameter \"", name, "\""));
      model.classifier[name] = at::zeros(tensor->shape, job.model.dtype);
      content.dense.push_back({name, model.classifier[name]});
    }
  }
  reader.load(content, LoadScope::kWeights);
  return model;
}

TextModel open_folder_text(const std::filesystem::path& path) {
  TextFolder folder = read_text_folder(path);
  TextModel model;
  model.options = folder.tower;
  model.classifier = folder.classifier;
  model.max_tokens = folder.max_tokens;
  model.name = path.string();
  model.tokenizer = std::make_unique<const WordPiece>(std::move(folder.tokenizer.vocabulary), folder.tokenizer.options);
  auto tower = std::make_unique<const TextTower>(model.options, "", kSeed, at::kFloat);
  load_weights(folder.weights, "", *tower);
  model.tower = std::move(tower);
  return model;
}

}  // namespace rondo
