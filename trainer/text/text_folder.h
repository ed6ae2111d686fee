#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/text/text_tower.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {

/// Weights by the name of their parameter without any prefix ("encoder.layer.0.output.dense.bias"), fp32 or fp64.
using TextWeights = std::map<std::string, at::Tensor>;

/// A BERT model as Hugging Face or sentence-transformers saves it in a folder.
struct TextFolder {
  /// Shape, pooling and normalisation. A folder without modules.json says nothing of pooling: mean then.
  TextTowerOptions tower;
  bool states_pooling = false;

  SavedTokenizer tokenizer;

  /// Longest text in tokens, [CLS] and [SEP] included: sentence_bert_config.json's `max_seq_length`, else the
  /// tokenizer's, at most the positions.
  int64_t max_tokens = 0;

  /// Embeddings, layers, and the pooler and the projection (a Dense module) where the folder has them.
  TextWeights weights;

  /// A classifier on the pooled vector: "classifier.weight" [labels, hidden], "classifier.bias"; empty without. What
  /// its outputs mean, by `id2label`; empty where the folder does not say.
  TextWeights classifier;
  std::vector<std::string> labels;

  /// SHA-256 of model.safetensors.
  std::string digest;
};

/// Reads config.json, model.safetensors, the tokenizer and, of sentence-transformers, modules.json and what it names.
/// Keys with and without `bert.`; `gamma` and `beta` of old files are LayerNorm's weight and bias; `position_ids` and
/// the heads of pre-training are passed over.
///
/// Throws DataError (kMissingInput if a file is absent) naming file, field or tensor and the reason: another
/// architecture, relative positions, another activation; a tensor that is missing, unknown, of another shape, of whole
/// numbers or not finite; a pooling that the tower has not; a tokenizer with more entries than the model.
TextFolder read_text_folder(const std::filesystem::path& folder);

/// The same without weights, classifier and digest: reads the small files alone, and throws of them.
TextFolder describe_text_folder(const std::filesystem::path& folder);

/// Copies `weights` into the parameters of a tower named `prefix`, whatever their dtype. Returns the parameters that it
/// lacks, which keep their initial values: of the pooler and the projection only. Throws ConfigError naming the tensor
/// if another one is missing or a shape differs.
std::vector<std::string> load_weights(const TextWeights& weights, const std::string& prefix, const TextTower& tower);

/// The parameters of a tower named `prefix`, copied.
TextWeights weights_of(const TextTower& tower, const std::string& prefix);

}  // namespace rondo
