#include "launch/text_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/text/text_folder.h"

namespace rondo {
namespace {

/// Fields of the job that are to be as the folder says.
class Adoption {
 public:
  Adoption(JobText& job, const std::string& folder) : job_(job), folder_(folder) {}

  template <typename Value>
  void require(const std::string& field, Value found) {
    const std::string said = job_.value(field);
    if (job_.says(field) && std::stod(said) != static_cast<double>(found)) {
      throw ConfigError(concat(job_.location(field), ": ", field, " is ", said, ", but the model in text.weights (",
                               folder_, ") has ", found, "; leave the field out"));
    }
    derive(field, number(found));
  }

  void derive(const std::string& field, const std::string& value) {
    job_.derive(field, value, concat("text.weights=", folder_));
  }

  static std::string number(int64_t value) { return std::to_string(value); }
  static std::string number(double value) { return fmt::format("{}", value); }

 private:
  JobText& job_;
  const std::string& folder_;
};

/// A projection that the folder has not and that changes no width starts as the identity, so that the first vectors are
/// the folder's. Takes it off the names of what is `random`.
bool start_square_projection(const TextTower& tower, std::vector<std::string>& random) {
  const at::NoGradGuard no_grad;
  bool done = false;
  for (const NamedParameter& parameter : tower.projection_parameters()) {
    const bool fits = parameter.value.dim() == 1 || parameter.value.size(0) == parameter.value.size(1);
    if (!fits || std::erase(random, parameter.name) == 0) return done;
    at::Tensor value = parameter.value;
    if (value.dim() == 2) {
      at::eye_out(value, value.size(0));
    } else {
      value.zero_();
    }
    done = true;
  }
  return done;
}

}  // namespace

const char* name_of(TextPooling pooling) {
  switch (pooling) {
    case TextPooling::kMean:
      return "MEAN";
    case TextPooling::kCls:
      return "CLS";
    case TextPooling::kMax:
      return "MAX";
    case TextPooling::kPooler:
      return "POOLER";
  }
  return "";
}

void adopt_text_weights(JobText& job) {
  const std::string path = job.value("text.weights");
  if (path.empty()) return;
  if (!std::filesystem::exists(path)) {
    if (job.says("text.hidden_size")) return;
    throw ConfigError(concat(job.location("text.weights"), ": text.weights: no folder ", path),
                      ExitCode::kMissingInput);
  }
  const TextFolder folder = describe_text_folder(path);
  const TextTowerOptions& tower = folder.tower;
  Adoption adoption(job, path);
  adoption.require("text.vocab_size", tower.vocabulary_size);
  adoption.require("text.hidden_size", tower.hidden_size);
  adoption.require("text.num_hidden_layers", tower.num_hidden_layers);
  adoption.require("text.num_attention_heads", tower.num_attention_heads);
  adoption.require("text.intermediate_size", tower.intermediate_size);
  adoption.require("text.max_position_embeddings", tower.max_position_embeddings);
  adoption.require("text.type_vocab_size", tower.type_vocab_size);
  adoption.require("text.layer_norm_eps", tower.layer_norm_eps);
  adoption.derive("text.hidden_dropout_prob", Adoption::number(tower.hidden_dropout_prob));
  adoption.derive("text.attention_probs_dropout_prob", Adoption::number(tower.attention_probs_dropout_prob));
  if (folder.states_pooling) adoption.derive("text.pooling", name_of(tower.pooling));
  adoption.derive("text.max_tokens",
                  Adoption::number(std::min<int64_t>(std::stoll(job.value("text.max_tokens")), folder.max_tokens)));
  adoption.derive("text.vocabulary", path);
}

void start_text_tower(const JobOptions& job, const std::string& prefix, const TextTower& tower, Communicator& comm) {
  if (job.text_weights.empty()) return;
  std::exception_ptr failure;
  try {
    TextFolder folder = read_text_folder(job.text_weights);
    const auto projection = folder.weights.find("projection.weight");
    if (projection != folder.weights.end() && projection->second.size(0) != tower.width()) {
      folder.weights.erase("projection.weight");  // a projection to another width is another one
      folder.weights.erase("projection.bias");
    }
    std::vector<std::string> random = load_weights(folder.weights, prefix, tower);
    std::string rest = start_square_projection(tower, random) ? "; its projection from the identity" : "";
    const size_t before = rest.size();
    for (const std::string& name : random) rest += concat(rest.size() == before ? "; at random: " : ", ", name);
    if (comm.rank() == 0) {
      log_info(concat("the text tower starts from ", job.text_weights.string(), " (SHA-256 of its weights ",
                      folder.digest.substr(0, 16), "...)", rest));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  agree(comm, failure, "loading the weights of the text tower");
}

void use_kept_tokenizer(const RunFolder& run, JobOptions& job) {
  for (const CheckpointDescription& checkpoint : describe_checkpoints(run.checkpoints(), /*digests=*/false)) {
    const auto path = run.checkpoints() / checkpoint.name / kTokenizerFile;
    std::error_code absent;
    if (!checkpoint.problem.empty() || std::filesystem::file_size(path, absent) == 0 || absent) continue;
    job.data.vocabulary = path;
    return;
  }
}

}  // namespace rondo
