#include "trainer/data/text_examples.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "trainer/data/dataset_files.h"
#include "trainer/data/text_storage.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

std::vector<uint8_t> as_bytes(const std::vector<ExamplePart>& parts) {
  std::vector<uint8_t> bytes;
  for (const ExamplePart part : parts) bytes.push_back(static_cast<uint8_t>(part));
  return bytes;
}

void check_values(const TextExamples& examples, const std::filesystem::path& path) {
  const auto size = static_cast<size_t>(examples.size());
  check_length(examples.texts.offsets.size(), size + 1, "texts/offsets", path);
  check_length(examples.second_texts.offsets.size(), size + 1, "second_texts/offsets", path);
  check_length(examples.weights.size(), size, "weights", path);
  check_length(examples.groups.size(), size, "groups", path);
  check_length(examples.parts.size(), size, "parts", path);
  for (size_t i = 0; i < size; ++i) {
    if (examples.labels[i] < 0 || examples.labels[i] >= examples.classes()) {
      throw StorageError(
          concat(path.string(), ": example ", i, " has class ", examples.labels[i], " of ", examples.classes()));
    }
    if (examples.parts[i] > ExamplePart::kDrawn) {
      throw StorageError(concat(path.string(), ": example ", i, " is of no known part"));
    }
  }
}

/// Examples that must stay together have one key.
uint64_t group_key(const TextExamples& examples, int64_t example) {
  const uint64_t group = examples.groups[static_cast<size_t>(example)];
  return group != 0 ? group : hash_bytes(examples.texts.at(example));
}

/// The drawn examples in the order of the draw: by the seed's hash of their groups.
std::vector<int64_t> drawn_order(const TextExamples& examples, uint64_t seed) {
  const CounterRandom random(seed, 0, RandomPurpose::kSplit);
  std::vector<int64_t> order;
  std::vector<uint64_t> place(static_cast<size_t>(examples.size()));
  for (int64_t i = 0; i < examples.size(); ++i) {
    if (examples.parts[static_cast<size_t>(i)] != ExamplePart::kDrawn) continue;
    place[static_cast<size_t>(i)] = random.bits(group_key(examples, i), 0);
    order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return place[static_cast<size_t>(a)] < place[static_cast<size_t>(b)]; });
  return order;
}

/// Moves at least `count` examples (none of 0), and then the rest of the last one's group, to `to`.
void take(const TextExamples& examples, double count, std::span<const int64_t>& from, std::vector<int64_t>& to) {
  const auto wanted = static_cast<size_t>(std::llround(count));
  size_t taken = std::min(wanted, from.size());
  const auto goes_on = [&] {
    return taken > 0 && taken < from.size() && group_key(examples, from[taken]) == group_key(examples, from[taken - 1]);
  };
  while (goes_on()) ++taken;
  to.insert(to.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(taken));
  from = from.subspan(taken);
}

}  // namespace

const char* name_of(ExamplePart part) {
  constexpr const char* kNames[] = {"train", "valid", "test", "drawn"};
  return kNames[static_cast<size_t>(part)];
}

void TextExamples::save(const std::filesystem::path& path) const {
  Hdf5Writer file(path);
  file.set_attribute("format_version", kDatasetFormatVersion);
  write_texts("texts", texts, file);
  write_texts("second_texts", second_texts, file);
  file.write<int32_t>("labels", labels);
  file.write<float>("weights", weights);
  file.write<uint64_t>("groups", groups);
  file.write<uint8_t>("parts", as_bytes(parts));
  TextColumn names;
  for (const std::string& name : label_names) append_text(name, names);
  write_texts("label_names", names, file);
  file.close();
}

TextExamples TextExamples::open(const std::filesystem::path& dataset_folder) {
  const auto path = dataset_folder / examples_file(0);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    const bool is_shop = std::filesystem::exists(dataset_folder / kCatalogFile, ignored);
    throw DataError(
        concat("no texts with classes in ", dataset_folder.string(), ": there is no ", examples_file(0),
               is_shop ? ", it is the dataset of a shop" : "", " (`rondo ingest` makes one from schema.example_file)"),
        ExitCode::kMissingInput);
  }
  TextExamples examples;
  examples.digest = sha256_of_file(path);
  const Hdf5Reader file(path);
  check_format(file, path);
  examples.texts = read_texts("texts", file, path);
  examples.second_texts = read_texts("second_texts", file, path);
  examples.labels = file.read<int32_t>("labels");
  examples.weights = file.read<float>("weights");
  examples.groups = file.read<uint64_t>("groups");
  for (const uint8_t part : file.read<uint8_t>("parts")) examples.parts.push_back(static_cast<ExamplePart>(part));
  const TextColumn names = read_texts("label_names", file, path);
  for (size_t i = 0; i + 1 < names.offsets.size(); ++i) {
    examples.label_names.emplace_back(names.at(static_cast<int64_t>(i)));
  }
  check_values(examples, path);
  return examples;
}

ExampleSplit split_examples(const TextExamples& examples, const SplitOptions& options) {
  validate(options);
  ExampleSplit split;
  const auto list_of = [&](ExamplePart part) -> std::vector<int64_t>& {
    if (part == ExamplePart::kValid) return split.valid;
    return part == ExamplePart::kTest ? split.test : split.train;
  };
  for (int64_t i = 0; i < examples.size(); ++i) {
    const ExamplePart part = examples.parts[static_cast<size_t>(i)];
    if (part != ExamplePart::kDrawn) list_of(part).push_back(i);
  }
  const std::vector<int64_t> order = drawn_order(examples, options.seed);
  const auto drawn = static_cast<double>(order.size());
  std::span<const int64_t> left(order);
  if (split.test.empty()) take(examples, options.test_fraction * drawn, left, split.test);
  if (split.valid.empty()) take(examples, options.valid_fraction * drawn, left, split.valid);
  split.train.insert(split.train.end(), left.begin(), left.end());
  for (auto* list : {&split.train, &split.valid, &split.test}) std::sort(list->begin(), list->end());
  return split;
}

}  // namespace rondo
