#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/data/split.h"

namespace rondo {

/// Where an example came from, hence what it is for. Drawn ones come from a file that serves several ends: the split
/// decides.
enum class ExamplePart : uint8_t { kTrain, kValid, kTest, kDrawn };

/// As reports say it: "train", "valid", "test", "drawn".
const char* name_of(ExamplePart part);

/// Texts with classes: `examples-00000.h5`. In the order of the sources. Layout (texts as `bytes` and `offsets`):
///
///   texts, second_texts: texts [n]; labels int32 [n], places in label_names; weights float32 [n]
///   groups uint64 [n], hash of the group's name (0: none); parts uint8 [n], an ExamplePart
///   label_names: texts [classes]
///   attribute format_version
struct TextExamples {
  TextColumn texts;         // never empty
  TextColumn second_texts;  // all empty where the schema names none
  std::vector<int32_t> labels;
  std::vector<float> weights;
  std::vector<uint64_t> groups;
  std::vector<ExamplePart> parts;
  std::vector<std::string> label_names;
  std::string digest;  // SHA-256 of the file

  /// Throws DataError (kMissingInput) for a folder that holds no texts with classes, saying what it holds; StorageError
  /// naming the file.
  static TextExamples open(const std::filesystem::path& dataset_folder);

  /// Writes a new file; it must not exist. Durable on return.
  void save(const std::filesystem::path& path) const;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t classes() const { return static_cast<int64_t>(label_names.size()); }
};

/// Places of examples by their end, ascending.
struct ExampleSplit {
  std::vector<int64_t> train;
  std::vector<int64_t> valid;
  std::vector<int64_t> test;
};

/// Examples with a part of their own stay there. The drawn ones go by seed: fractions of them to test and to valid
/// unless that part has files, the rest trains. Whole groups are drawn (equal texts, where there are no groups), so a
/// fraction is met to within a group. A pure function of examples and options.
ExampleSplit split_examples(const TextExamples& examples, const SplitOptions& options);

}  // namespace rondo
