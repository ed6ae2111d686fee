#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "launch/job_options.h"
#include "sharding/comm/communicator.h"
#include "trainer/telemetry/run_folder.h"
#include "trainer/text/text_export.h"
#include "trainer/text/text_tower.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// A text tower with its tokenizer, ready to encode; needs no dataset.
struct TextModel {
  TextTowerOptions options;
  std::unique_ptr<const TextTower> tower;  // its parameters have no prefix
  std::unique_ptr<const WordPiece> tokenizer;
  TextWeights classifier;  // of a job with classes, as in TextFolder
  int64_t max_tokens = 0;
  std::string name;  // where it is from, for people
};

/// The text tower in a checkpoint of a run (empty: the newest that is in order). Throws ConfigError for a run without
/// one. Collective.
TextModel open_run_text(const RunFolder& run, const std::string& checkpoint, const JobOptions& job, Communicator& comm);

/// The model of a BERT folder. Throws what `read_text_folder` throws.
TextModel open_folder_text(const std::filesystem::path& folder);

}  // namespace rondo
