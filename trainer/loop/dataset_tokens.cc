#include "trainer/loop/dataset_tokens.h"

#include <exception>
#include <utility>

#include "sharding/base/check.h"
#include "trainer/storage/file_system.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {

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

TokenFile open_tokens(const std::filesystem::path& dataset, const WordPiece& tokenizer, const TokenSource& source,
                      Communicator& comm, Progress& progress) {
  const auto files = make_posix_file_system();
  std::optional<TokenFile> tokens;
  std::exception_ptr failure;
  if (comm.rank() == 0) {
    try {
      tokens = TokenFile::open_or_make(dataset, tokenizer, source, *files, progress);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  agree(comm, failure, "token file");
  // The others find it whole.
  if (comm.rank() != 0) tokens = TokenFile::open_or_make(dataset, tokenizer, source, *files, progress);
  return std::move(*tokens);
}

}  // namespace rondo
