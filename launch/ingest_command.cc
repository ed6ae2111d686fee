#include <cstdio>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/job_options.h"
#include "sharding/base/check.h"
#include "trainer/data/ingest.h"
#include "trainer/data/text_examples.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"
#include "trainer/telemetry/progress_bar.h"
#include "trainer/tokenizer/vocabulary_learner.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

/// The texts that a vocabulary may learn from: of the catalogue, or of the training examples.
void add_texts(const std::filesystem::path& folder, const DatasetRecord& record, VocabularyLearner& learner) {
  if (record.examples == 0) {
    const Catalog catalog = Catalog::open(folder);
    learner.add(TextsView{catalog.texts.bytes, catalog.texts.offsets});
    return;
  }
  const TextExamples examples = TextExamples::open(folder);
  for (const int64_t example : split_examples(examples, record.split).train) {
    learner.add(examples.texts.at(example));
    learner.add(examples.second_texts.at(example));
  }
}

/// Leaves a vocabulary in the dataset folder.
void build_vocabulary(const std::filesystem::path& folder, int64_t size, bool lowercase, DatasetRecord& record) {
  VocabularyLearnerOptions options;
  options.size = size;
  options.normalizer.lowercase = lowercase;
  validate(options);
  VocabularyLearner learner(options);
  add_texts(folder, record, learner);
  const std::string text = learner.learn().text();
  make_posix_file_system()->replace_file(folder / kVocabularyFile, text);
  record.vocabulary_sha256 = sha256_hex(text);
  write_dataset_record(folder, record);
}

void print_record(const std::filesystem::path& folder, const DatasetRecord& record) {
  const auto line = [](const std::string& what, int64_t count) {
    std::printf("  %-22s %lld\n", what.c_str(), static_cast<long long>(count));
  };
  std::printf("%s\n", folder.c_str());
  if (record.examples > 0) {
    line("examples", record.examples);
    for (const auto& [part, count] : record.parts) line("  " + part, count);
    for (const NamedCount& label : record.labels) line("  label " + label.name, label.count);
  } else {
    line("users", record.users);
    line("items", record.items);
    line("events", record.events);
  }
  line("rows read", record.rows_read);
  line("rows filtered out", record.rows_filtered);
  line("duplicates dropped", record.duplicates_dropped);
  for (const auto& [reason, count] : record.rejected) line("rejected: " + reason, count);
}

void print_window(const WindowRecord& window) {
  std::printf("appended %s: %lld events from %lld rows\n", window.file.c_str(), static_cast<long long>(window.events),
              static_cast<long long>(window.rows_read));
}

IngestOptions ingest_options(const po::variables_map& values, const JobOptions& job) {
  IngestOptions to;
  to.overwrite = values["overwrite"].as<bool>();
  to.append = values.count("append") > 0;
  to.split = job.split;
  if (to.append && (values.count("out") > 0 || to.overwrite || values["build-vocabulary"].as<int64_t>() > 0)) {
    throw ConfigError(
        "--append DIR names the dataset that grows and keeps its vocabulary: it goes with none of --out, --overwrite "
        "and --build-vocabulary",
        ExitCode::kUsage);
  }
  to.out = to.append                 ? values["append"].as<std::string>()
           : values.count("out") > 0 ? values["out"].as<std::string>()
                                     : job.data.dataset.string();
  if (to.out.empty()) throw ConfigError("ingest needs --out, or data.dataset in the job", ExitCode::kUsage);
  return to;
}

}  // namespace

int run_ingest(int argc, char** argv) {
  const CommandHelp help{
      "ingest", "turns logs and a catalogue, or texts with classes, into a dataset folder",
      "rondo ingest --job configs/quickstart.textproto --out data/quickstart --build-vocabulary 4000"};
  po::options_description options;
  options.add_options()("out", po::value<std::string>(), "dataset folder to make (default: data.dataset of the job)")(
      "overwrite", po::bool_switch(), "replace a dataset that is there")(
      "append", po::value<std::string>()->value_name("DIR"),
      "add what the job's schema reads to the dataset in DIR, as one more window (--append data/shop --set "
      "schema.event_file.path=monday.csv); the dataset's keys, split and vocabulary stay, and a source that it has "
      "already is refused")(
      "build-vocabulary", po::value<int64_t>()->default_value(0)->value_name("N"),
      "learn a WordPiece vocabulary of N entries from the catalogue's texts, or from those of the training "
      "examples");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const JobOptions job = job_of(*values);
  if (!job.has_schema) throw ConfigError("the job has no schema: it says how the files are read");
  const IngestOptions to = ingest_options(*values, job);
  ProgressBar progress;
  DatasetRecord record = ingest(job.schema, to, progress);
  if (const auto size = (*values)["build-vocabulary"].as<int64_t>(); size > 0) {
    build_vocabulary(to.out, size, job.data.lowercase, record);
  }
  if (to.append) print_window(record.windows.back());
  print_record(to.out, record);
  return 0;
}

}  // namespace rondo
