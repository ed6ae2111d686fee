#include "trainer/text/text_folder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/safetensors.h"
#include "trainer/text/packed_texts.h"
#include "trainer/text/safetensors_tensors.h"
#include "trainer/text/text_export.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TextTowerOptions tiny_options() {
  return {.vocabulary_size = 12,
          .hidden_size = 8,
          .num_hidden_layers = 2,
          .num_attention_heads = 2,
          .intermediate_size = 12,
          .max_position_embeddings = 16,
          .hidden_dropout_prob = 0.2,
          .initializer_range = 0.3};
}

WordPiece tiny_tokenizer() {
  return WordPiece(Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "ab"}));
}

/// A folder with a model of random weights, and ways to spoil it.
class TextFolderTest : public ::testing::Test {
 protected:
  void write(const TextTowerOptions& options) {
    tower_ = std::make_unique<TextTower>(options, "t", 3, at::kFloat);
    const at::NoGradGuard no_grad;
    for (const NamedParameter& parameter : tower_->parameters()) {  // none stays at 0 or 1
      at::Tensor value = parameter.value;
      value.add_(initial_normal(value.sizes(), 0.3, 99, parameter.name, at::kFloat));
    }
    model_ = {.tower = options, .weights = weights_of(*tower_, "t"), .max_tokens = 10};
    write_text_folder(model_, tiny_tokenizer(), path_, *files_);
  }

  at::Tensor vectors(const TextTower& tower) const {
    PackedTexts texts;
    for (const std::vector<int32_t>& text : {std::vector<int32_t>{2, 5, 8, 3}, {2, 3}, {2, 11, 1, 7, 5, 6, 3}}) {
      append_text(text, texts);
    }
    return tower.encode(texts, {});
  }

  /// A tower of the folder's, filled from it.
  at::Tensor imported_vectors() const {
    const TextFolder folder = read_text_folder(path_);
    const TextTower tower(folder.tower, "text", 77, at::kFloat);
    load_weights(folder.weights, "text", tower);
    return vectors(tower);
  }

  void replace(const std::string& file, const std::string& from, const std::string& to) {
    std::string text = read_file(path_ / file);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    std::ofstream(path_ / file) << text.replace(at, from.size(), to);
  }

  /// Writes the weights again, each under the name that `rename` gives it; "": left out.
  template <typename Rename>
  void rewrite_weights(Rename rename) {
    std::vector<SafetensorsTensor> tensors;
    for (const auto& [name, value] : model_.weights) {
      if (const std::string other = rename(name); !other.empty()) tensors.push_back(tensor_to_write(other, value));
    }
    for (SafetensorsTensor& tensor : more_) tensors.push_back(tensor);
    files_->replace_file(path_ / "model.safetensors", safetensors_bytes(std::move(tensors), {}));
  }

  std::string refusal() const {
    try {
      read_text_folder(path_);
    } catch (const DataError& error) {
      return error.what();
    }
    ADD_FAILURE() << "accepted";
    return "";
  }

  testing::ScratchFolder scratch_;
  std::filesystem::path path_ = scratch_.path() / "model";
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  std::unique_ptr<TextTower> tower_;
  TextExport model_;
  std::vector<SafetensorsTensor> more_;
};

const auto kSame = [](const std::string& name) { return name; };

TEST_F(TextFolderTest, ReadsWhatItWrites) {
  for (const TextPooling pooling : {TextPooling::kMean, TextPooling::kCls, TextPooling::kMax, TextPooling::kPooler}) {
    for (const bool more : {false, true}) {
      TextTowerOptions options = tiny_options();
      options.pooling = pooling;
      if (more && pooling != TextPooling::kPooler) {
        options.output_size = 5;
        options.normalize = true;
      }
      std::filesystem::remove_all(path_);
      write(options);
      const TextFolder folder = read_text_folder(path_);
      EXPECT_EQ(folder.states_pooling, pooling != TextPooling::kPooler);
      if (folder.states_pooling) {
        EXPECT_EQ(folder.tower.pooling, pooling);
        EXPECT_EQ(folder.tower.output_size, options.output_size);
        EXPECT_EQ(folder.tower.normalize, options.normalize);
        EXPECT_TRUE(imported_vectors().equal(vectors(*tower_)));
      }
      EXPECT_EQ(folder.tower.hidden_dropout_prob, 0.2);
      EXPECT_EQ(folder.tower.initializer_range, 0.3);
      EXPECT_EQ(folder.max_tokens, 10);
      EXPECT_EQ(folder.weights.size(), model_.weights.size());
      EXPECT_EQ(WordPiece(folder.tokenizer.vocabulary, folder.tokenizer.options).hash(), tiny_tokenizer().hash());
      EXPECT_EQ(folder.digest, sha256_of_file(path_ / "model.safetensors"));
    }
  }
}

TEST_F(TextFolderTest, KeepsAClassifierWithItsLabels) {
  TextTowerOptions options = tiny_options();
  options.pooling = TextPooling::kPooler;
  write(options);
  model_.classifier = {{"classifier.weight", initial_normal({3, 8}, 1.0, 1, "c", at::kFloat)},
                       {"classifier.bias", initial_normal({3}, 1.0, 1, "b", at::kFloat)}};
  model_.labels = {"bad", "so so", "good"};
  write_text_folder(model_, tiny_tokenizer(), path_, *files_);
  const TextFolder folder = read_text_folder(path_);
  EXPECT_THAT(folder.labels, ElementsAre("bad", "so so", "good"));
  EXPECT_TRUE(folder.classifier.at("classifier.weight").equal(model_.classifier.at("classifier.weight")));
  EXPECT_EQ(folder.weights.size(), model_.weights.size());
  EXPECT_FALSE(folder.states_pooling);
}

TEST_F(TextFolderTest, KnowsTheNamesOfEveryTime) {
  write(tiny_options());
  const at::Tensor expected = vectors(*tower_);
  const std::vector<int64_t> ids(16);
  more_.push_back({"bert.embeddings.position_ids",
                   SafetensorsType::kInt64,
                   {1, 16},
                   {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int64_t)}});
  more_.push_back({"cls.predictions.bias", SafetensorsType::kInt64, {16}, more_[0].bytes});
  rewrite_weights([](std::string name) {
    for (const auto& [from, to] : {std::pair<std::string, std::string>{"LayerNorm.weight", "LayerNorm.gamma"},
                                   {"LayerNorm.bias", "LayerNorm.beta"}}) {
      if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
    }
    return "bert." + name;
  });
  EXPECT_TRUE(imported_vectors().equal(expected));
}

TEST_F(TextFolderTest, ReadsHalfPrecision) {
  write(tiny_options());
  const at::Tensor half = model_.weights.at("encoder.layer.0.output.dense.weight").to(at::kHalf);
  const at::Tensor brain = model_.weights.at("encoder.layer.1.output.dense.weight").to(at::kBFloat16);
  const auto bytes = [](const at::Tensor& x) {
    return std::string_view(static_cast<const char*>(x.const_data_ptr()), x.nbytes());
  };
  more_ = {{"encoder.layer.0.output.dense.weight", SafetensorsType::kFloat16, {8, 12}, bytes(half)},
           {"encoder.layer.1.output.dense.weight", SafetensorsType::kBFloat16, {8, 12}, bytes(brain)}};
  rewrite_weights([](const std::string& name) {
    return name.ends_with("r.0.output.dense.weight") || name.ends_with("r.1.output.dense.weight") ? "" : name;
  });
  const TextFolder folder = read_text_folder(path_);
  EXPECT_TRUE(folder.weights.at("encoder.layer.0.output.dense.weight").equal(half.to(at::kFloat)));
  EXPECT_TRUE(folder.weights.at("encoder.layer.1.output.dense.weight").equal(brain.to(at::kFloat)));
}

TEST_F(TextFolderTest, ReadsAnEncoderInAFolderOfItsOwn) {
  write(tiny_options());
  std::filesystem::create_directory(path_ / "0_Transformer");
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json"}) {
    std::filesystem::rename(path_ / file, path_ / "0_Transformer" / file);
  }
  replace("modules.json", R"("path": "")", R"("path": "0_Transformer")");
  EXPECT_EQ(read_text_folder(path_).max_tokens, 10);
  EXPECT_TRUE(imported_vectors().equal(vectors(*tower_)));
}

TEST_F(TextFolderTest, APoolerMayBeMissing) {
  write(tiny_options());
  TextFolder folder = read_text_folder(path_);
  folder.tower.pooling = TextPooling::kPooler;
  const TextTower tower(folder.tower, "text", 1, at::kDouble);
  EXPECT_THAT(load_weights(folder.weights, "text", tower),
              ElementsAre("text.pooler.dense.weight", "text.pooler.dense.bias"));
  EXPECT_TRUE(tower.parameters()[0].value.equal(tower_->parameters()[0].value.to(at::kDouble)));
  folder.tower.intermediate_size = 13;
  try {
    load_weights(folder.weights, "text", TextTower(folder.tower, "text", 1, at::kFloat));
    ADD_FAILURE() << "loaded";
  } catch (const ConfigError& error) {
    EXPECT_THAT(
        error.what(),
        HasSubstr(R"(tensor "encoder.layer.0.intermediate.dense.weight": shape [13, 8] expected, found [12, 8])"));
  }
}

TEST_F(TextFolderTest, RefusesWeightsThatDoNotFit) {
  write(tiny_options());
  const std::string some = "encoder.layer.1.attention.self.key.bias";
  rewrite_weights([&](const std::string& name) { return name == some ? "" : name; });
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors: tensor \"" + some + "\": missing"));
  rewrite_weights([&](const std::string& name) { return name == some ? "encoder.layer.2.x" : name; });
  EXPECT_THAT(refusal(), HasSubstr(R"(tensor "encoder.layer.2.x": not known)"));
  const at::Tensor other = at::full({9}, 0.5F);
  more_ = {tensor_to_write(some, other)};
  rewrite_weights([&](const std::string& name) { return name == some ? "" : name; });
  EXPECT_THAT(refusal(), HasSubstr(concat("tensor \"", some, "\": shape [8] expected, found [9]")));
  const at::Tensor infinite = at::full({8}, std::numeric_limits<float>::infinity());
  more_ = {tensor_to_write(some, infinite)};
  rewrite_weights([&](const std::string& name) { return name == some ? "" : name; });
  EXPECT_THAT(refusal(), HasSubstr("\": not all of its numbers are finite"));
  more_ = {{some, SafetensorsType::kInt32, {8}, {static_cast<const char*>(infinite.const_data_ptr()), 32}}};
  rewrite_weights([&](const std::string& name) { return name == some ? "" : name; });
  EXPECT_THAT(refusal(), HasSubstr("F32, F64, F16 or BF16 expected, found I32"));
  more_ = {tensor_to_write("bert." + some, model_.weights.at(some))};
  rewrite_weights(kSame);
  EXPECT_THAT(refusal(), HasSubstr("stands twice, by two of its names"));
}

TEST_F(TextFolderTest, RefusesOtherModels) {
  const auto changed = [&](const std::string& file, const std::string& from, const std::string& to) {
    write(tiny_options());
    replace(file, from, to);
    return refusal();
  };
  EXPECT_THAT(changed("config.json", R"("model_type": "bert")", R"("model_type": "roberta")"),
              HasSubstr(R"(config.json: model_type: expected "bert", found "roberta")"));
  EXPECT_THAT(changed("config.json", R"("hidden_act": "gelu")", R"("hidden_act": "gelu_new")"),
              HasSubstr(R"(hidden_act: expected "gelu" (all that Rondo does), found "gelu_new")"));
  EXPECT_THAT(changed("config.json", R"("absolute")", R"("relative_key")"), HasSubstr("position_embedding_type"));
  EXPECT_THAT(changed("config.json", R"("pad_token_id")", R"("is_decoder": true, "pad_token_id")"),
              HasSubstr("is_decoder: expected false"));
  EXPECT_THAT(changed("config.json", R"("num_attention_heads": 2)", R"("num_attention_heads": 3)"),
              HasSubstr("num_attention_heads must divide"));
  EXPECT_THAT(changed("config.json", R"("hidden_size": 8)", R"("hidden_size": 16)"), HasSubstr("expected, found"));
  EXPECT_THAT(changed("config.json", R"("hidden_size": 8)", R"("hidden_size": "8")"),
              HasSubstr("hidden_size: expected"));
  EXPECT_THAT(changed("config.json", R"("vocab_size": 12)", R"("vocab_size": 8)"),
              HasSubstr("the tokenizer has 9 entries, config.json's vocab_size is 8"));
  EXPECT_THAT(changed("config.json", "{", "["), HasSubstr("config.json: expected JSON"));
  EXPECT_THAT(
      changed("1_Pooling/config.json", R"("pooling_mode_lasttoken": false)", R"("pooling_mode_lasttoken": true)"),
      HasSubstr("pooling_mode_lasttoken: expected false: of the poolings Rondo has"));
  EXPECT_THAT(
      changed("1_Pooling/config.json", R"("pooling_mode_cls_token": false)", R"("pooling_mode_cls_token": true)"),
      HasSubstr("one pooling_mode_... that is true, not 2"));
  EXPECT_THAT(changed("modules.json", "models.Pooling", "models.CNN"),
              HasSubstr("1.type: expected Transformer, Pooling"));
  EXPECT_THAT(changed("modules.json", "1_Pooling", "../1_Pooling"), HasSubstr("a folder below the model's"));
  EXPECT_THAT(changed("modules.json", "1_Pooling", "/1_Pooling"), HasSubstr("a folder below the model's"));
}

TEST_F(TextFolderTest, SaysWhatToDoWithoutSafetensors) {
  write(tiny_options());
  std::filesystem::rename(path_ / "model.safetensors", path_ / "pytorch_model.bin");
  EXPECT_THAT(refusal(), HasSubstr("has no model.safetensors; pytorch_model.bin cannot be read"));
  std::filesystem::remove_all(path_);
  EXPECT_THAT(refusal(), HasSubstr("has no model.safetensors"));
}

}  // namespace
}  // namespace rondo
