// Speaks with compare_with_transformers.py.
//
//   tower_probe train MODEL TOKENS OUT float|double
//
// trains the tower of a folder, dropout off, mean pooling: TOKENS has a text a line, its tokens, and an empty line
// behind each batch; one AdamW step a batch, rate 2e-5, weight decay 0.01. The loss is the mean of (vector - target)^2,
// where target (i, j) of a batch is sin(0.37 i + 0.11 j). OUT: the weights as fp32 safetensors.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "trainer/optim/adam_w.h"
#include "trainer/storage/file_system.h"
#include "trainer/text/packed_texts.h"
#include "trainer/text/safetensors_tensors.h"
#include "trainer/text/text_folder.h"

namespace {

using namespace rondo;

std::vector<PackedTexts> read_batches(const std::string& path) {
  std::ifstream file(path);
  std::vector<PackedTexts> batches(1);
  for (std::string line; std::getline(file, line);) {
    std::istringstream numbers(line);
    std::vector<int32_t> tokens;
    for (int32_t token = 0; numbers >> token;) tokens.push_back(token);
    if (tokens.empty()) {
      batches.emplace_back();
    } else {
      append_text(tokens, batches.back());
    }
  }
  if (batches.back().size() == 0) batches.pop_back();
  return batches;
}

at::Tensor target_of(const at::Tensor& vectors) {
  const at::Tensor rows = at::arange(vectors.size(0), at::kDouble), columns = at::arange(vectors.size(1), at::kDouble);
  return at::sin(rows.unsqueeze(1) * 0.37 + columns.unsqueeze(0) * 0.11).to(vectors.scalar_type());
}

void train(const std::string& model, const std::string& tokens, const std::string& out, at::ScalarType dtype) {
  TextFolder folder = read_text_folder(model);
  folder.tower.pooling = TextPooling::kMean;
  folder.tower.normalize = false;
  folder.tower.hidden_dropout_prob = folder.tower.attention_probs_dropout_prob = 0.0;
  const TextTower tower(folder.tower, "", 1, dtype);
  load_weights(folder.weights, "", tower);
  AdamW optimizer(tower.parameters(), {.learning_rate = 2e-5, .weight_decay = 0.01});
  int64_t step = 0;
  for (const PackedTexts& batch : read_batches(tokens)) {
    const at::Tensor vectors = tower.encode(batch, {.seed = 1, .step = ++step, .training = true});
    const at::Tensor loss = (vectors - target_of(vectors)).pow(2).mean();
    loss.backward();
    optimizer.step({.step = step - 1});
    std::cout << "step " << step << " loss " << loss.item<double>() << std::endl;
  }
  TextWeights weights = weights_of(tower, "");
  std::vector<SafetensorsTensor> to_write;
  for (auto& [name, value] : weights) {
    value = value.to(at::kFloat).contiguous();
    to_write.push_back(tensor_to_write(name, value));
  }
  make_posix_file_system()->replace_file(out, safetensors_bytes(to_write, {{"format", "pt"}}));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() != 5 || words[0] != "train") return 2;
  train(words[1], words[2], words[3], words[4] == "double" ? at::kDouble : at::kFloat);
  return 0;
}
