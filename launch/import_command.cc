#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/text_weights.h"
#include "sharding/base/error.h"
#include "sharding/base/number_text.h"
#include "trainer/storage/file_system.h"
#include "trainer/text/text_export.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

int64_t parameters_of(const TextWeights& weights) {
  int64_t count = 0;
  for (const auto& [name, value] : weights) count += value.numel();
  return count;
}

nlohmann::ordered_json description_of(const TextFolder& folder, const std::string& path) {
  const TextTowerOptions& tower = folder.tower;
  nlohmann::ordered_json out{{"kind", "text model"},
                             {"folder", path},
                             {"architecture", "bert"},
                             {"layers", tower.num_hidden_layers},
                             {"width", tower.hidden_size},
                             {"heads", tower.num_attention_heads},
                             {"positions", tower.max_position_embeddings},
                             {"parameters", parameters_of(folder.weights)},
                             {"vocabulary", folder.tokenizer.vocabulary.size()},
                             {"lowercase", folder.tokenizer.options.normalizer.lowercase},
                             {"max_tokens", folder.max_tokens},
                             {"pooling", folder.states_pooling ? name_of(tower.pooling) : "not stated"},
                             {"has_pooler", folder.weights.contains("pooler.dense.weight")},
                             {"projection", tower.output_size},
                             {"normalize", tower.normalize},
                             {"weights_sha256", folder.digest}};
  if (!folder.classifier.empty()) out["classes"] = folder.classifier.at("classifier.bias").size(0);
  return out;
}

std::string text_of(const nlohmann::ordered_json& description) {
  std::string text;
  for (const auto& [name, value] : description.items()) {
    const bool count = value.is_number() && value.get<int64_t>() >= 10'000;
    const std::string shown = value.is_string() ? value.get<std::string>()
                              : count           ? with_thousands(value.get<int64_t>())
                                                : value.dump();
    text += fmt::format("{:<16} {}\n", name, shown);
  }
  return text;
}

void write_copy(const TextFolder& folder, const std::string& path) {
  if (std::filesystem::exists(path)) {
    throw ConfigError("--out: " + path + " exists; name a folder that does not", ExitCode::kCannotCreate);
  }
  const WordPiece tokenizer(folder.tokenizer.vocabulary, folder.tokenizer.options);
  const auto files = make_posix_file_system();
  write_text_folder({folder.tower, folder.weights, folder.classifier, folder.labels, folder.max_tokens}, tokenizer,
                    path, *files);
}

}  // namespace

int run_import(int argc, char** argv) {
  const CommandHelp help{"import",
                         "checks a BERT folder of Hugging Face or sentence-transformers and says what is in it",
                         "rondo import --from models/all-MiniLM-L6-v2 --out models/minilm"};
  po::options_description options;
  options.add_options()("from", po::value<std::string>()->required(),
                        "folder with config.json, model.safetensors and tokenizer.json or vocab.txt")(
      "out", po::value<std::string>()->default_value(""),
      "write a copy of what was understood, in fp32 and by the names of today; both serve as text.weights of a job")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const auto from = (*values)["from"].as<std::string>(), out = (*values)["out"].as<std::string>();
  const TextFolder folder = read_text_folder(from);
  if (!out.empty()) write_copy(folder, out);
  const auto description = description_of(folder, out.empty() ? from : out);
  if ((*values)["json"].as<bool>()) {
    std::puts(description.dump().c_str());
  } else {
    std::fputs(text_of(description).c_str(), stdout);
    std::fputs(
        fmt::format("\nA job starts from it with  text {{ weights: \"{}\" }}\n", out.empty() ? from : out).c_str(),
        stdout);
  }
  return 0;
}

}  // namespace rondo
