#include "trainer/loop/recommender_data.h"

#include "sharding/base/check.h"
#include "trainer/data/dataset_record.h"
#include "trainer/storage/file_system.h"
#include "trainer/tokenizer/token_file.h"
#include "trainer/tokenizer/tokenizer_files.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {
namespace {

WordPiece open_tokenizer(const DataOptions& options) {
  const bool own = options.vocabulary.empty();
  const auto path = own ? options.dataset / kVocabularyFile : options.vocabulary;
  if (own && !std::filesystem::exists(path)) {
    throw ConfigError(concat("text.vocabulary names no vocab.txt and ", options.dataset.string(),
                             " has none: run rondo ingest with --build-vocabulary 8000, or set model.text_beta to 0"));
  }
  SavedTokenizer saved = read_tokenizer_at(path, options.lowercase);
  return WordPiece(std::move(saved.vocabulary), saved.options);
}

ItemTokens unpack(const TokenFile& file) {
  ItemTokens tokens;
  for (int64_t text = 0; text < file.texts(); ++text) {
    file.append_to(text, tokens.tokens);
    tokens.offsets.push_back(static_cast<int64_t>(tokens.tokens.size()));
  }
  return tokens;
}

void open_text(const DataOptions& options, Communicator& comm, Progress& progress, RecommenderData& data) {
  const WordPiece tokenizer = open_tokenizer(options);
  const TokenSource source{
      {data.catalog.texts.bytes, data.catalog.texts.offsets}, data.catalog.digest, options.max_tokens};
  const auto files = make_posix_file_system();
  // Rank 0 makes the file; the others find it whole.
  std::exception_ptr failure;
  if (comm.rank() == 0) {
    try {
      data.tokens = unpack(TokenFile::open_or_make(options.dataset, tokenizer, source, *files, progress));
    } catch (...) {
      failure = std::current_exception();
    }
  }
  agree(comm, failure, "token file");
  if (comm.rank() != 0) {
    data.tokens = unpack(TokenFile::open_or_make(options.dataset, tokenizer, source, *files, progress));
  }
  data.vocabulary_size = tokenizer.vocabulary().size();
  data.tokenizer = tokenizer_json(tokenizer);
}

}  // namespace

RecommenderData open_data(const DataOptions& options, Communicator& comm, Progress& progress) {
  if (options.dataset.empty()) throw ConfigError("data.dataset must name the folder that rondo ingest wrote");
  RecommenderData data;
  const DatasetRecord record = read_dataset_record(options.dataset);
  data.catalog = Catalog::open(options.dataset);
  data.events = EventLog::open(options.dataset, data.catalog);
  data.split_options = options.split.value_or(record.split);
  data.split = make_split(data.events, data.catalog, data.split_options);
  if (options.needs_text) open_text(options, comm, progress, data);
  return data;
}

}  // namespace rondo
