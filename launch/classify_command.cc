#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "launch/classifier_setup.h"
#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_setup.h"
#include "sharding/base/check.h"
#include "trainer/data/record_reader.h"
#include "trainer/loop/classifier_evaluation.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {
namespace {

namespace po = boost::program_options;
using Json = nlohmann::ordered_json;

constexpr size_t kShownBytes = 60;

/// Texts to classify, with the line of the file that each came from (0: of the command line).
struct Questions {
  std::vector<std::string> texts;
  std::vector<int64_t> lines;
};

bool is_blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

void read_lines(const std::string& path, Questions& questions) {
  FileOptions lines;
  lines.delimiter = '\x1E';  // in no line: one field a line
  lines.quoted = false;
  lines.header = false;
  const auto reader = open_records(path, lines, {"1"});
  for (SourceRecord record; reader->next(record);) {
    const std::string text(record.reason.empty() ? record.fields.front() : "");
    if (is_blank(text)) {
      throw DataError(concat(path, ":", record.line, ": expected a text, found ",
                             record.reason.empty() ? std::string_view("an empty line") : record.reason));
    }
    questions.texts.push_back(text);
    questions.lines.push_back(record.line);
  }
}

Questions questions_of(const po::variables_map& values) {
  Questions questions;
  if (values.count("text") > 0) questions.texts = values["text"].as<std::vector<std::string>>();
  for (const std::string& text : questions.texts) {
    if (is_blank(text)) throw ConfigError("--text must not be empty", ExitCode::kUsage);
  }
  questions.lines.assign(questions.texts.size(), 0);
  if (values.count("file") > 0) read_lines(values["file"].as<std::string>(), questions);
  if (questions.texts.empty()) throw ConfigError("classify needs --text or --file", ExitCode::kUsage);
  return questions;
}

/// What the checkpoint says, [texts, labels].
struct Answers {
  std::filesystem::path checkpoint;
  std::vector<std::string> labels;
  std::vector<double> probabilities;

  std::span<const double> of(size_t text) const {
    return std::span(probabilities).subspan(text * labels.size(), labels.size());
  }
  size_t best(size_t text) const { return static_cast<size_t>(std::ranges::max_element(of(text)) - of(text).begin()); }
};

/// Weights, classes, tokenizer and job all come from the checkpoint.
Answers answer(const CheckpointReader& reader, const std::vector<std::string>& texts, Communicator& comm) {
  const auto folder = reader.folder();
  reader.text("job.textproto");  // verified: then read by the job's own parser
  const JobOptions job = load_job({folder / "job.textproto"}, {});
  if (job.task != TaskKind::kTextClassification) {
    throw ConfigError(concat(folder.string(), " is of a recommender; rondo recommend asks it"));
  }
  Answers answers{folder, parse_labels(reader.text(kLabelsFile), (folder / kLabelsFile).string()), {}};
  SavedTokenizer saved = parse_tokenizer_json(reader.text(kTokenizerFile), (folder / kTokenizerFile).string());
  const WordPiece tokenizer(std::move(saved.vocabulary), saved.options);
  TextClassifierOptions options = job.classification.classifier.model;
  options.classes = static_cast<int64_t>(answers.labels.size());
  options.tower.vocabulary_size = std::max<int64_t>(options.tower.vocabulary_size, tokenizer.vocabulary().size());
  const TextClassifier model(options, job.seed);
  load_weights(reader, model);
  std::vector<std::vector<int32_t>> tokens;
  for (const std::string& text : texts) tokens.push_back(tokenizer.encode(text, {true, job.data.max_tokens}));
  const std::vector<std::span<const int32_t>> views(tokens.begin(), tokens.end());
  answers.probabilities = class_probabilities(model, views, comm);
  return answers;
}

std::string json_text(const Questions& questions, const Answers& answers) {
  Json texts = Json::array();
  for (size_t i = 0; i < questions.texts.size(); ++i) {
    Json entry, probabilities;
    if (questions.lines[i] > 0) entry["line"] = questions.lines[i];
    entry["text"] = questions.texts[i];
    entry["label"] = answers.labels[answers.best(i)];
    for (size_t label = 0; label < answers.labels.size(); ++label) {
      probabilities[answers.labels[label]] = answers.of(i)[label];
    }
    entry["probabilities"] = probabilities;
    texts.push_back(std::move(entry));
  }
  const Json all{{"checkpoint", answers.checkpoint.string()}, {"labels", answers.labels}, {"texts", std::move(texts)}};
  return all.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// The beginning of a text on one line, cut between characters.
std::string shown(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  if (text.size() <= kShownBytes) return text;
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end) + "...";
}

/// A line a text: its classes, the most probable first, then the text.
std::string table_text(const Questions& questions, const Answers& answers) {
  std::string all;
  for (size_t i = 0; i < questions.texts.size(); ++i) {
    std::vector<size_t> order(answers.labels.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](size_t label) { return answers.of(i)[label]; });
    order.resize(std::min<size_t>(order.size(), 3));
    std::string line;
    for (const size_t label : order) line += fmt::format("{} {:.4f}  ", answers.labels[label], answers.of(i)[label]);
    all += line + shown(questions.texts[i]) + "\n";
  }
  return all;
}

CheckpointReader open_checkpoint(const po::variables_map& values, Communicator& comm) {
  const std::string run = values["run"].as<std::string>(), checkpoint = values["checkpoint"].as<std::string>();
  if (!run.empty()) return open_answering(RunFolder(run), checkpoint, comm);
  return CheckpointReader::open(checkpoint, comm);
}

}  // namespace

int run_classify(int argc, char** argv) {
  const CommandHelp help{"classify", "says of which class texts are, from a checkpoint alone",
                         "rondo classify --run runs/sst2 --text \"a fine film\" --json"};
  po::options_description options;
  options.add_options()("run", po::value<std::string>()->default_value(""),
                        "run folder of a text classification: its best checkpoint answers")(
      "checkpoint", po::value<std::string>()->default_value(""),
      "name below checkpoints/ of the run; without --run, a checkpoint folder anywhere")(
      "text", po::value<std::vector<std::string>>()->composing(), "a text; may be given several times")(
      "file", po::value<std::string>(), "a file with a text a line; gzip is read directly")(
      "threads", po::value<int>()->default_value(0), "threads of each rank (0: the cores of the host by its ranks)")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  if ((*values)["run"].as<std::string>().empty() && (*values)["checkpoint"].as<std::string>().empty()) {
    throw ConfigError("classify needs --run or --checkpoint", ExitCode::kUsage);
  }
  const Questions questions = questions_of(*values);
  RankOptions rank;
  rank.threads = (*values)["threads"].as<int>();
  run_as_rank(
      rank,
      [&](RankProcess& process) {
        process.beat(Phase::kEvaluation, 0);
        const CheckpointReader reader = open_checkpoint(*values, process.comm);
        const Answers answers = answer(reader, questions.texts, process.comm);
        if (process.comm.rank() != 0) return;
        const bool json = (*values)["json"].as<bool>();
        std::fputs((json ? json_text(questions, answers) : table_text(questions, answers)).c_str(), stdout);
      },
      [](const RankFailure&) {});
  return 0;
}

}  // namespace rondo
