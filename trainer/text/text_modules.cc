#include "trainer/text/text_modules.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/storage/safetensors.h"
#include "trainer/text/safetensors_tensors.h"

namespace rondo {
namespace {

constexpr char kModulesFile[] = "modules.json";

void require_text(const JsonValue& object, const std::string& member, const std::string& expected) {
  const auto value = object.find(member);
  if (value && value->text() != expected) value->refuse(concat("\"", expected, "\" (all that Rondo does)"));
}

int64_t whole_or(const JsonValue& config, const std::string& member, int64_t otherwise, int64_t most) {
  const auto value = config.find(member);
  return value ? value->whole_number(1, most) : otherwise;
}

double number_or(const JsonValue& config, const std::string& member, double otherwise) {
  const auto value = config.find(member);
  return value ? value->number() : otherwise;
}

bool flag_or(const JsonValue& object, const std::string& member, bool otherwise) {
  const auto value = object.find(member);
  return value ? value->flag() : otherwise;
}

/// By `model_type`; files from before it was written say it by their architecture.
void require_bert(const JsonValue& config) {
  if (const auto type = config.find("model_type")) {
    if (type->text() != "bert") type->refuse("\"bert\"");
    return;
  }
  const auto architectures = config.at("architectures").elements();
  if (architectures.empty() || !architectures[0].text().starts_with("Bert")) {
    config.at("architectures").refuse("a Bert... architecture");
  }
}

void refuse_flag(const JsonValue& config, const std::string& member) {
  if (flag_or(config, member, false)) config.at(member).refuse("false (an encoder)");
}

using Pooling = std::pair<const char*, TextPooling>;
constexpr std::array<Pooling, 3> kPoolings = {{{"pooling_mode_mean_tokens", TextPooling::kMean},
                                               {"pooling_mode_cls_token", TextPooling::kCls},
                                               {"pooling_mode_max_tokens", TextPooling::kMax}}};

TextPooling read_pooling(const JsonValue& config) {
  std::vector<TextPooling> chosen;
  for (const auto& [name, value] : config.members()) {
    if (!name.starts_with("pooling_mode_") || !value.flag()) continue;
    const auto* known =
        std::find_if(kPoolings.begin(), kPoolings.end(), [&](const Pooling& p) { return name == p.first; });
    if (known == kPoolings.end()) value.refuse("false: of the poolings Rondo has mean, cls and max");
    chosen.push_back(known->second);
  }
  if (chosen.size() != 1) config.refuse(concat("one pooling_mode_... that is true, not ", chosen.size()));
  return chosen[0];
}

/// The linear layer of a Dense module becomes the tower's projection.
void read_dense(const std::filesystem::path& path, TextFolder& folder) {
  const JsonDocument document = JsonDocument::read(path / "config.json");
  const JsonValue config = document.root();
  require_text(config, "activation_function", "torch.nn.modules.linear.Identity");
  config.at("in_features").whole_number(folder.tower.hidden_size, folder.tower.hidden_size);
  folder.tower.output_size = config.at("out_features").whole_number(1, 1 << 16);
  const SafetensorsReader file(path / "model.safetensors");
  const bool bias = flag_or(config, "bias", true);
  const int64_t out = folder.tower.output_size;
  folder.weights["projection.weight"] = read_tensor(file, "linear.weight", {out, folder.tower.hidden_size});
  folder.weights["projection.bias"] = bias ? read_tensor(file, "linear.bias", {out}) : at::zeros({out}, at::kFloat);
}

/// The last part of a module's type: "Pooling" of "sentence_transformers.models.Pooling".
std::string kind_of(const JsonValue& module) {
  const std::string type = module.at("type").text();
  return type.substr(type.rfind('.') + 1);
}

/// A folder that a module names, below the model's.
std::filesystem::path folder_of(const JsonValue& module, const std::filesystem::path& root) {
  const JsonValue value = module.at("path");
  const std::filesystem::path path = value.text();
  const bool below = path.is_relative() && std::find(path.begin(), path.end(), "..") == path.end();
  if (!below) value.refuse("a folder below the model's");
  return root / path;
}

void read_module(const JsonValue& module, size_t place, const std::filesystem::path& path, TextFolder& folder) {
  const std::string kind = kind_of(module);
  const bool expected = place == 0   ? kind == "Transformer"
                        : place == 1 ? kind == "Pooling"
                                     : !folder.tower.normalize &&
                                           (kind == "Normalize" || (kind == "Dense" && folder.tower.output_size == 0));
  if (!expected)
    module.at("type").refuse("Transformer, Pooling, at most one Dense, at most one Normalize, in this order");
  if (kind == "Pooling") {
    folder.tower.pooling = read_pooling(JsonDocument::read(folder_of(module, path) / "config.json").root());
    folder.states_pooling = true;
  } else if (kind == "Dense") {
    read_dense(folder_of(module, path), folder);
  } else if (kind == "Normalize") {
    folder.tower.normalize = true;
  }
}

void read_sentence_config(const std::filesystem::path& file, TextFolder& folder) {
  if (!std::filesystem::exists(file)) return;
  const JsonDocument document = JsonDocument::read(file);
  if (const auto length = document.root().find("max_seq_length")) folder.max_tokens = length->whole_number(2, 1 << 20);
  if (flag_or(document.root(), "do_lower_case", false) && !folder.tokenizer.options.normalizer.lowercase) {
    document.root().at("do_lower_case").refuse("false: the tokenizer keeps upper case");
  }
}

}  // namespace

std::filesystem::path encoder_folder(const std::filesystem::path& path) {
  const auto file = path / kModulesFile;
  if (!std::filesystem::exists(file)) return path;
  const JsonDocument document = JsonDocument::read(file);
  const auto modules = document.root().elements();
  if (modules.empty()) document.root().refuse("a Transformer and a Pooling");
  return folder_of(modules[0], path);
}

TextTowerOptions read_bert_config(const JsonValue& config) {
  require_bert(config);
  require_text(config, "hidden_act", "gelu");
  require_text(config, "position_embedding_type", "absolute");
  refuse_flag(config, "is_decoder");
  refuse_flag(config, "add_cross_attention");
  constexpr int64_t kMost = 1 << 20;
  TextTowerOptions to;
  to.vocabulary_size = whole_or(config, "vocab_size", 30522, 1 << 24);
  to.hidden_size = whole_or(config, "hidden_size", 768, 1 << 16);
  to.num_hidden_layers = whole_or(config, "num_hidden_layers", 12, 1 << 10);
  to.num_attention_heads = whole_or(config, "num_attention_heads", 12, kMost);
  to.intermediate_size = whole_or(config, "intermediate_size", 3072, kMost);
  to.max_position_embeddings = whole_or(config, "max_position_embeddings", 512, kMost);
  to.type_vocab_size = whole_or(config, "type_vocab_size", 2, kMost);
  to.layer_norm_eps = number_or(config, "layer_norm_eps", 1e-12);
  to.hidden_dropout_prob = number_or(config, "hidden_dropout_prob", 0.1);
  to.attention_probs_dropout_prob = number_or(config, "attention_probs_dropout_prob", 0.1);
  to.initializer_range = number_or(config, "initializer_range", 0.02);
  try {
    validate(to);
  } catch (const ConfigError& error) {
    config.refuse(concat("a BERT that can be (", error.what(), ")"));
  }
  return to;
}

std::vector<std::string> read_labels(const JsonValue& config) {
  const auto names = config.find("id2label");
  if (!names) return {};
  const auto members = names->members();
  std::vector<std::string> labels(members.size());
  for (const auto& [id, name] : members) {
    const bool digits = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || std::stoull(id) >= labels.size()) name.refuse("ids from 0 on, one a label");
    labels[std::stoull(id)] = name.text();
  }
  return labels;
}

void read_modules(const std::filesystem::path& path, TextFolder& folder) {
  const auto file = path / kModulesFile;
  if (!std::filesystem::exists(file)) return;
  const JsonDocument document = JsonDocument::read(file);
  const auto modules = document.root().elements();
  for (size_t i = 0; i < modules.size(); ++i) read_module(modules[i], i, path, folder);
  if (!folder.states_pooling) document.root().refuse("a Transformer and a Pooling");
  read_sentence_config(encoder_folder(path) / "sentence_bert_config.json", folder);
}

}  // namespace rondo
