#include "trainer/text/text_folder.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/json_document.h"
#include "trainer/storage/safetensors.h"
#include "trainer/text/safetensors_tensors.h"
#include "trainer/text/text_modules.h"

namespace rondo {
namespace {

constexpr char kWeightsFile[] = "model.safetensors";

bool take_prefix(std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

void replace_suffix(std::string& name, const std::string& from, const std::string& to) {
  if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
}

/// The name of a parameter by the name of a tensor; empty for a tensor that the tower has no use for.
std::string parameter_name(std::string name) {
  if (name.starts_with("cls.")) return "";  // heads of pre-training
  take_prefix(name, "bert.");
  if (name == "embeddings.position_ids" || name == "embeddings.token_type_ids") return "";
  replace_suffix(name, ".LayerNorm.gamma", ".LayerNorm.weight");
  replace_suffix(name, ".LayerNorm.beta", ".LayerNorm.bias");
  return name;
}

/// What a tower of this shape is made of.
std::map<std::string, std::vector<int64_t>> expected_shapes(const TextTowerOptions& shape) {
  const int64_t width = shape.hidden_size, inner = shape.intermediate_size;
  std::map<std::string, std::vector<int64_t>> shapes = {
      {"embeddings.word_embeddings.weight", {shape.vocabulary_size, width}},
      {"embeddings.position_embeddings.weight", {shape.max_position_embeddings, width}},
      {"embeddings.token_type_embeddings.weight", {shape.type_vocab_size, width}}};
  const auto add = [&shapes](const std::string& name, int64_t out, int64_t in) {
    shapes[name + ".weight"] = in > 0 ? std::vector<int64_t>{out, in} : std::vector<int64_t>{out};
    shapes[name + ".bias"] = {out};
  };
  add("embeddings.LayerNorm", width, 0);
  for (int64_t i = 0; i < shape.num_hidden_layers; ++i) {
    const std::string layer = concat("encoder.layer.", i, ".");
    for (const char* part : {"query", "key", "value"}) add(layer + "attention.self." + part, width, width);
    add(layer + "attention.output.dense", width, width);
    add(layer + "attention.output.LayerNorm", width, 0);
    add(layer + "intermediate.dense", inner, width);
    add(layer + "output.dense", width, inner);
    add(layer + "output.LayerNorm", width, 0);
  }
  add("pooler.dense", width, width);
  return shapes;
}

/// The tensors of the file by the tower's names. Heads and poolers may be absent, nothing else.
std::map<std::string, const SafetensorsEntry*> by_parameter(const SafetensorsReader& file,
                                                            const std::map<std::string, std::vector<int64_t>>& shapes) {
  std::map<std::string, const SafetensorsEntry*> found;
  for (const SafetensorsEntry& entry : file.tensors()) {
    const std::string name = parameter_name(entry.name);
    if (name.empty()) continue;
    const bool classifier = name == "classifier.weight" || name == "classifier.bias";
    if (!classifier && !shapes.contains(name)) {
      refuse_tensor(file.path(), entry.name, "not known; a BERT encoder of the shape in config.json expected");
    }
    if (!found.emplace(name, &entry).second)
      refuse_tensor(file.path(), entry.name, "stands twice, by two of its names");
    if (!classifier) require_shape(file, entry, shapes.at(name));
  }
  for (const auto& [name, shape] : shapes) {
    const bool pooler =
        name.starts_with("pooler.") && !found.contains("pooler.dense.weight") && !found.contains("pooler.dense.bias");
    if (!found.contains(name) && !pooler) refuse_tensor(file.path(), name, "missing");
  }
  return found;
}

void check_classifier(const SafetensorsReader& file, const TextFolder& folder) {
  if (folder.classifier.empty()) return;
  const auto weight = folder.classifier.find("classifier.weight"), bias = folder.classifier.find("classifier.bias");
  const bool good = weight != folder.classifier.end() && bias != folder.classifier.end() && weight->second.dim() == 2 &&
                    weight->second.size(1) == folder.tower.hidden_size &&
                    bias->second.sizes() == at::IntArrayRef({weight->second.size(0)}) &&
                    (folder.labels.empty() || static_cast<int64_t>(folder.labels.size()) == weight->second.size(0));
  if (!good) {
    refuse_tensor(
        file.path(), "classifier.weight",
        concat("a linear layer [labels, ", folder.tower.hidden_size, "] with its bias, one row a label, expected"));
  }
}

void read_weights(const std::filesystem::path& path, TextFolder& folder) {
  const SafetensorsReader file(path);
  for (const auto& [name, entry] : by_parameter(file, expected_shapes(folder.tower))) {
    TextWeights& into = name.starts_with("classifier.") ? folder.classifier : folder.weights;
    into[name] = read_tensor(file, *entry);
  }
  check_classifier(file, folder);
  folder.digest = sha256_of_file(path);
}

/// Says what to do about weights that are there in another form.
void require_weights_file(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / kWeightsFile)) return;
  std::string advice;
  for (const char* other : {"model.safetensors.index.json", "pytorch_model.bin", "tf_model.h5", "model.onnx"}) {
    if (std::filesystem::exists(folder / other)) {
      advice = concat("; ", other, " cannot be read: load it with transformers and save_pretrained it as one file");
      break;
    }
  }
  throw DataError(concat(folder.string(), " has no ", kWeightsFile, advice), ExitCode::kMissingInput);
}

void check_tokenizer(const TextFolder& folder, const std::filesystem::path& path) {
  const int64_t entries = folder.tokenizer.vocabulary.size();
  if (entries > folder.tower.vocabulary_size) {
    throw DataError(concat(path.string(), ": the tokenizer has ", entries, " entries, config.json's vocab_size is ",
                           folder.tower.vocabulary_size, ": they do not belong together"));
  }
}

}  // namespace

TextFolder describe_text_folder(const std::filesystem::path& path) {
  const auto encoder = encoder_folder(path);
  require_weights_file(encoder);
  const JsonDocument config = JsonDocument::read(encoder / "config.json");
  TextFolder folder{.tower = read_bert_config(config.root()),
                    .tokenizer = read_tokenizer(encoder),
                    .weights = {},
                    .classifier = {},
                    .labels = read_labels(config.root()),
                    .digest = {}};
  check_tokenizer(folder, encoder);
  folder.max_tokens = folder.tokenizer.max_tokens;
  read_modules(path, folder);
  const int64_t most = folder.tower.max_position_embeddings;
  folder.max_tokens = folder.max_tokens == 0 ? most : std::min(folder.max_tokens, most);
  return folder;
}

TextFolder read_text_folder(const std::filesystem::path& path) {
  TextFolder folder = describe_text_folder(path);
  read_weights(encoder_folder(path) / kWeightsFile, folder);
  return folder;
}

std::vector<std::string> load_weights(const TextWeights& weights, const std::string& prefix, const TextTower& tower) {
  const std::string root = prefix.empty() ? "" : prefix + ".";
  const at::NoGradGuard no_grad;
  std::vector<std::string> left;
  for (const NamedParameter& parameter : tower.parameters()) {
    const std::string name = parameter.name.substr(root.size());
    const auto found = weights.find(name);
    if (found == weights.end()) {
      if (!name.starts_with("pooler.") && !name.starts_with("projection.")) {
        throw ConfigError(concat("text weights: tensor \"", name, "\" is missing"));
      }
      left.push_back(parameter.name);
      continue;
    }
    at::Tensor value = parameter.value;
    if (value.sizes() != found->second.sizes()) {
      throw ConfigError(concat("text weights: tensor \"", name, "\": shape ", shape_text(value.sizes()),
                               " expected, found ", shape_text(found->second.sizes())));
    }
    value.copy_(found->second);
  }
  return left;
}

TextWeights weights_of(const TextTower& tower, const std::string& prefix) {
  const std::string root = prefix.empty() ? "" : prefix + ".";
  TextWeights weights;
  for (const NamedParameter& parameter : tower.parameters()) {
    weights[parameter.name.substr(root.size())] = parameter.value.detach().clone();
  }
  return weights;
}

}  // namespace rondo
