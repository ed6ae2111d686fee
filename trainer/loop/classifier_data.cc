#include "trainer/loop/classifier_data.h"

#include <vector>

#include "sharding/base/check.h"
#include "trainer/data/dataset_record.h"
#include "trainer/tokenizer/tokenizer_files.h"

namespace rondo {
namespace {

void require_single_texts(const TextExamples& examples) {
  if (examples.second_texts.bytes.empty()) return;
  throw DataError(
      "the examples have second texts, and this task reads single ones: ingest them again with the columns of "
      "schema.examples.second_text under text, which joins them");
}

void require_training_examples(const TextExamples& examples, const ExampleSplit& split) {
  std::vector<int64_t> counts(examples.label_names.size());
  for (const int64_t i : split.train) ++counts[static_cast<size_t>(examples.labels[static_cast<size_t>(i)])];
  for (size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] > 0) continue;
    throw DataError(
        concat("none of the ", split.train.size(), " training examples has the label \"", examples.label_names[label],
               "\": nothing can be learnt of it. Hold out less "
               "(split.valid_fraction, split.test_fraction), draw with another split.seed, or filter it out"));
  }
}

TokenizedTexts unpack(const TokenFile& file) {
  TokenizedTexts texts;
  texts.ids.reserve(static_cast<size_t>(file.total_tokens()));
  for (int64_t text = 0; text < file.texts(); ++text) {
    file.append_to(text, texts.ids);
    texts.offsets.push_back(static_cast<int64_t>(texts.ids.size()));
  }
  return texts;
}

}  // namespace

ClassifierData open_classifier_data(const DataOptions& options, Communicator& comm, Progress& progress) {
  if (options.dataset.empty()) throw ConfigError("data.dataset must name the folder that rondo ingest wrote");
  ClassifierData data;
  const DatasetRecord record = read_dataset_record(options.dataset);
  data.examples = TextExamples::open(options.dataset);
  require_single_texts(data.examples);
  data.split = split_examples(data.examples, options.split.value_or(record.split));
  require_training_examples(data.examples, data.split);
  const WordPiece tokenizer = open_tokenizer(options);
  const TextColumn& texts = data.examples.texts;
  data.tokens =
      unpack(open_tokens(options.dataset, tokenizer,
                         {{texts.bytes, texts.offsets}, data.examples.digest, options.max_tokens}, comm, progress));
  data.vocabulary_size = tokenizer.vocabulary().size();
  data.tokenizer = tokenizer_json(tokenizer);
  return data;
}

}  // namespace rondo
