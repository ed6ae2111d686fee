#include "trainer/text/text_export.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "sharding/base/check.h"
#include "trainer/storage/safetensors.h"
#include "trainer/text/safetensors_tensors.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

Json config_json(const TextExport& model) {
  const TextTowerOptions& tower = model.tower;
  const bool classifies = !model.classifier.empty();
  Json config = {{"architectures", Json::array({classifies ? "BertForSequenceClassification" : "BertModel"})},
                 {"attention_probs_dropout_prob", tower.attention_probs_dropout_prob},
                 {"hidden_act", "gelu"},
                 {"hidden_dropout_prob", tower.hidden_dropout_prob},
                 {"hidden_size", tower.hidden_size},
                 {"initializer_range", tower.initializer_range},
                 {"intermediate_size", tower.intermediate_size},
                 {"layer_norm_eps", tower.layer_norm_eps},
                 {"max_position_embeddings", tower.max_position_embeddings},
                 {"model_type", "bert"},
                 {"num_attention_heads", tower.num_attention_heads},
                 {"num_hidden_layers", tower.num_hidden_layers},
                 {"pad_token_id", 0},
                 {"position_embedding_type", "absolute"},
                 {"torch_dtype", "float32"},
                 {"type_vocab_size", tower.type_vocab_size},
                 {"vocab_size", tower.vocabulary_size}};
  if (classifies && !model.labels.empty()) {
    for (size_t i = 0; i < model.labels.size(); ++i) {
      config["id2label"][std::to_string(i)] = model.labels[i];
      config["label2id"][model.labels[i]] = i;
    }
  }
  return config;
}

/// fp32, contiguous, by the names in the file; they own the bytes that are written.
std::string weights_bytes(const TextExport& model) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  const std::string root = model.classifier.empty() ? "" : "bert.";
  for (const auto& [name, value] : model.weights) {
    if (!name.starts_with("projection.")) tensors.emplace_back(root + name, value.to(at::kFloat).contiguous());
  }
  for (const auto& [name, value] : model.classifier) tensors.emplace_back(name, value.to(at::kFloat).contiguous());
  std::vector<SafetensorsTensor> to_write;
  for (const auto& [name, value] : tensors) to_write.push_back(tensor_to_write(name, value));
  return safetensors_bytes(std::move(to_write), {{"format", "pt"}});
}

Json pooling_json(const TextTowerOptions& tower) {
  return {{"word_embedding_dimension", tower.hidden_size},
          {"pooling_mode_cls_token", tower.pooling == TextPooling::kCls},
          {"pooling_mode_mean_tokens", tower.pooling == TextPooling::kMean},
          {"pooling_mode_max_tokens", tower.pooling == TextPooling::kMax},
          {"pooling_mode_mean_sqrt_len_tokens", false},
          {"pooling_mode_weightedmean_tokens", false},
          {"pooling_mode_lasttoken", false},
          {"include_prompt", true}};
}

/// Writes files below a folder.
class FolderWriter {
 public:
  FolderWriter(const std::filesystem::path& folder, FileSystem& files) : folder_(folder), files_(files) {}

  void write(const std::filesystem::path& name, std::string_view bytes) {
    files_.make_folder((folder_ / name).parent_path());
    files_.replace_file(folder_ / name, bytes);
  }
  void write_json(const std::filesystem::path& name, const Json& document) { write(name, document.dump(2) + "\n"); }

 private:
  const std::filesystem::path& folder_;
  FileSystem& files_;
};

void write_dense(const TextExport& model, const std::string& name, FolderWriter& out) {
  out.write_json(name + "/config.json", Json{{"in_features", model.tower.hidden_size},
                                             {"out_features", model.tower.output_size},
                                             {"bias", true},
                                             {"activation_function", "torch.nn.modules.linear.Identity"}});
  const at::Tensor weight = model.weights.at("projection.weight").to(at::kFloat).contiguous();
  const at::Tensor bias = model.weights.at("projection.bias").to(at::kFloat).contiguous();
  out.write(name + "/model.safetensors",
            safetensors_bytes({tensor_to_write("linear.weight", weight), tensor_to_write("linear.bias", bias)},
                              {{"format", "pt"}}));
}

void write_modules(const TextExport& model, FolderWriter& out) {
  Json modules = Json::array();
  const auto add = [&](const std::string& kind) {
    const size_t place = modules.size();
    const std::string path = place == 0 ? "" : concat(place, "_", kind);
    modules.push_back({{"idx", place},
                       {"name", std::to_string(place)},
                       {"path", path},
                       {"type", "sentence_transformers.models." + kind}});
    return path;
  };
  add("Transformer");
  out.write_json(add("Pooling") + "/config.json", pooling_json(model.tower));
  if (model.tower.output_size > 0) write_dense(model, add("Dense"), out);
  if (model.tower.normalize) add("Normalize");
  out.write_json("modules.json", modules);
  out.write_json("sentence_bert_config.json", Json{{"max_seq_length", model.max_tokens}, {"do_lower_case", false}});
  out.write_json("config_sentence_transformers.json", Json{{"__version__", Json::object()},
                                                           {"prompts", Json::object()},
                                                           {"default_prompt_name", nullptr},
                                                           {"similarity_fn_name", "cosine"}});
}

}  // namespace

void write_text_folder(const TextExport& model, const WordPiece& tokenizer, const std::filesystem::path& folder,
                       FileSystem& files) {
  RONDO_CHECK_LE(tokenizer.vocabulary().size(), model.tower.vocabulary_size, "entries of the tokenizer");
  FolderWriter out(folder, files);
  out.write_json("config.json", config_json(model));
  out.write("model.safetensors", weights_bytes(model));
  out.write("tokenizer.json", tokenizer_json(tokenizer));
  out.write("tokenizer_config.json", tokenizer_config_json(tokenizer, model.max_tokens));
  out.write("vocab.txt", tokenizer.vocabulary().text());
  out.write_json("special_tokens_map.json", Json{{"cls_token", "[CLS]"},
                                                 {"mask_token", "[MASK]"},
                                                 {"pad_token", "[PAD]"},
                                                 {"sep_token", "[SEP]"},
                                                 {"unk_token", "[UNK]"}});
  const bool sentence = model.classifier.empty() && model.tower.pooling != TextPooling::kPooler;
  if (sentence) write_modules(model, out);
}

}  // namespace rondo
