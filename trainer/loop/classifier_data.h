#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/data/text_examples.h"
#include "trainer/loop/dataset_tokens.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// Texts with classes in memory, on every rank.
struct ClassifierData {
  TextExamples examples;
  ExampleSplit split;
  TokenizedTexts tokens;
  int64_t vocabulary_size = 0;
  std::string tokenizer;  // tokenizer.json, kept with a checkpoint

  std::span<const int32_t> text(int64_t example) const {
    const auto begin = static_cast<size_t>(tokens.offsets[static_cast<size_t>(example)]);
    return std::span(tokens.ids)
        .subspan(begin, static_cast<size_t>(tokens.offsets[static_cast<size_t>(example) + 1]) - begin);
  }
};

/// Throws DataError when nothing is left to train, when a class has no training example (naming it), and for examples
/// with second texts; what the files throw; ConfigError without a vocabulary. Collective.
ClassifierData open_classifier_data(const DataOptions& options, Communicator& comm, Progress& progress);

}  // namespace rondo
