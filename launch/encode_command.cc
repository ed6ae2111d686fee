#include <algorithm>
#include <cstdio>
#include <numeric>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_setup.h"
#include "launch/run_text.h"
#include "launch/text_source.h"
#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/eval/gather.h"
#include "trainer/storage/vector_file.h"
#include "trainer/telemetry/progress_bar.h"
#include "trainer/text/encode_texts.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

/// Texts that the ranks share out at once: bounds the memory.
constexpr size_t kTextsPerRound = 8192;

struct EncodeRequest {
  std::string run, checkpoint, from;
  std::string texts, column, out;
  int64_t max_tokens = 0;
  JobOptions job;
};

TextModel open_model(const EncodeRequest& request, Communicator& comm) {
  TextModel model = request.from.empty() ? open_run_text(RunFolder(request.run), request.checkpoint, request.job, comm)
                                         : open_folder_text(request.from);
  if (request.max_tokens > 0) model.max_tokens = request.max_tokens;
  if (model.max_tokens > model.options.max_position_embeddings) {
    throw ConfigError(concat("--max-tokens must be at most the positions of the model (",
                             model.options.max_position_embeddings, "), got ", model.max_tokens),
                      ExitCode::kUsage);
  }
  return model;
}

/// The places of a round that are this rank's, about as long together as another's: dealt in the order of lengths.
std::vector<std::vector<size_t>> deal(const std::vector<std::string>& texts, int world) {
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return texts[a].size() > texts[b].size(); });
  std::vector<std::vector<size_t>> places(static_cast<size_t>(world));
  for (size_t i = 0; i < order.size(); ++i) places[i % places.size()].push_back(order[i]);
  return places;
}

/// Vectors of a round in the order of its texts, on every rank. Collective.
std::vector<float> encode_round(const TextModel& model, const std::vector<std::string>& texts, Communicator& comm) {
  const auto places = deal(texts, comm.size());
  std::vector<std::string> mine;
  for (const size_t place : places[static_cast<size_t>(comm.rank())]) mine.push_back(texts[place]);
  std::exception_ptr failure;
  at::Tensor vectors;
  try {
    vectors = encode_texts(*model.tower, *model.tokenizer, mine, {.max_tokens = model.max_tokens});
  } catch (...) {
    failure = std::current_exception();
  }
  agree(comm, failure, "encoding texts");
  std::vector<int64_t> rows;
  for (const auto& of_rank : places) rows.push_back(static_cast<int64_t>(of_rank.size()));
  const at::Tensor all = gather_rows(comm, vectors, rows, "vectors of texts");
  const auto width = static_cast<size_t>(model.tower->width());
  std::vector<float> ordered(texts.size() * width);
  const float* from = all.const_data_ptr<float>();
  for (const auto& of_rank : places) {
    for (const size_t place : of_rank) {
      std::copy_n(from, width, ordered.begin() + static_cast<std::ptrdiff_t>(place * width));
      from += width;
    }
  }
  return ordered;
}

/// Every rank reads the file; rank 0 writes. Collective.
void encode_file(const EncodeRequest& request, RankProcess& process) {
  Communicator& comm = process.comm;
  process.beat(Phase::kStart, 0);
  const TextModel model = open_model(request, comm);
  const auto files = make_posix_file_system();
  std::unique_ptr<VectorFile> out;
  std::exception_ptr failure;
  try {
    if (comm.rank() == 0) {
      out = make_vector_file(request.out, model.tower->width(),
                             {{"model", model.name},
                              {"tokenizer_hash", model.tokenizer->hash()},
                              {"max_tokens", std::to_string(model.max_tokens)}},
                             *files);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  agree(comm, failure, "making the output");
  const auto source = open_texts(request.texts, request.column);
  ProgressBar progress;
  progress.begin("encode", 0, "texts");
  int64_t done = 0;
  for (auto texts = source->next(kTextsPerRound); !texts.empty(); texts = source->next(kTextsPerRound)) {
    process.beat(Phase::kStep, done);
    const std::vector<float> vectors = encode_round(model, texts, comm);
    if (out) out->append(vectors);
    done += static_cast<int64_t>(texts.size());
    if (comm.rank() == 0) progress.advance(done);
  }
  progress.end();
  if (!out) return;
  out->commit();
  log_info(concat(done, " vectors of width ", model.tower->width(), " in ", request.out));
}

}  // namespace

int run_encode(int argc, char** argv) {
  const CommandHelp help{"encode", "writes a vector for each text of a file; alone, or one rank a process under mpirun",
                         "rondo encode --from models/minilm --texts reviews.txt --out reviews.npy"};
  po::options_description options;
  options.add_options()("run", po::value<std::string>()->default_value(""), "run folder whose text tower encodes")(
      "checkpoint", po::value<std::string>()->default_value(""), "name below checkpoints/ (default: the newest)")(
      "from", po::value<std::string>()->default_value(""), "instead of a run: a BERT folder, as rondo import reads")(
      "texts", po::value<std::string>()->required(), "file with a text a line; gzip is unpacked")(
      "column", po::value<std::string>()->default_value(""),
      "column of a .csv, .tsv or .jsonl file instead of its lines")("out", po::value<std::string>()->required(),
                                                                    "file to write: .npy or .h5 (dataset vectors)")(
      "max-tokens", po::value<int64_t>()->default_value(0),
      "cut texts to this many tokens, [CLS] and [SEP] included (default: as the model was made for)");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const auto text = [&](const char* name) { return (*values)[name].as<std::string>(); };
  EncodeRequest request{text("run"),
                        text("checkpoint"),
                        text("from"),
                        text("texts"),
                        text("column"),
                        text("out"),
                        (*values)["max-tokens"].as<int64_t>(),
                        {}};
  if (request.run.empty() == request.from.empty()) {
    throw ConfigError("encode needs either --run or --from", ExitCode::kUsage);
  }
  if (request.max_tokens != 0 && request.max_tokens < 2) {
    throw ConfigError(concat("--max-tokens must be 2 or more, got ", request.max_tokens), ExitCode::kUsage);
  }
  request.job = request.run.empty() ? load_job(named_files(*values), assignments(*values))
                                    : job_of_run(RunFolder(request.run), named_files(*values), assignments(*values));
  run_as_rank(
      rank_options(request.job), [&](RankProcess& process) { encode_file(request, process); },
      [](const RankFailure&) {});
  return 0;
}

}  // namespace rondo
