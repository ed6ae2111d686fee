#include "trainer/loop/recommender_data.h"

#include "sharding/base/check.h"
#include "trainer/data/dataset_record.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {
namespace {

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
  data.tokens = unpack(open_tokens(options.dataset, tokenizer, source, comm, progress));
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
  hide_items(data.events, data.catalog, options.hidden_items, data.split);
  if (options.needs_text) open_text(options, comm, progress, data);
  return data;
}

}  // namespace rondo
