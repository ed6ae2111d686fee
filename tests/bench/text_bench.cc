// Speed of a BERT on a CPU: fine-tuning, encoding and tokenising, on the batches of the Python peer
// (hf_bert_bench.py), whose options it takes by the same names. Results are verified before they are timed.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randperm.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "sharding/base/stopwatch.h"
#include "tests/bench/text_model.h"
#include "trainer/nn/products.h"
#include "trainer/nn/tensor_memory.h"
#include "trainer/optim/adam_w.h"

namespace rondo::bench {
namespace {

constexpr const char* kUsage =
    "Speed of a BERT on a CPU, verified first: one RESULT line a mode.\n\n"
    "  full         full fine-tuning on batches of similar length (the peer's full_sorted)\n"
    "  full_random  the same on batches as they are drawn (the peer's full_padded and full_dynamic)\n"
    "  encode       vectors by mean pooling, texts sorted by length\n"
    "  tokenize     tokens a second\n";
constexpr const char* kExample =
    "\nexample: text_bench --model minilm --texts reviews.txt --mode full,encode,tokenize --threads 2\n";

struct Options {
  std::string model, texts;
  std::string mode = "full,encode,tokenize";
  int64_t batch = 16;
  int64_t encode_batch = 32;
  int64_t max_len = 128;
  int64_t steps = 40;
  int64_t warmup = 5;
  int64_t limit = 4096;
  int64_t seed = 1;
  int threads = 2;
  bool bf16 = false;
};

/// User and system time of all threads of this process.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double quantile(std::vector<double> values, double part) {
  const auto place = values.begin() + static_cast<int64_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

std::vector<int64_t> random_order(int64_t count, int64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  const at::Tensor order = at::randperm(count, generator, at::kLong);
  return {order.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>() + count};
}

int64_t code_points(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

double relative_difference(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual.to(at::kDouble) - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

/// Of one product of MiniLM's size: largest difference from fp64 over largest value.
double product_error(ProductPrecision precision) {
  const at::Tensor x = initial_normal({512, 384}, 1.0, 1, "x", at::kFloat);
  const at::Tensor weight = initial_normal({1536, 384}, 1.0, 1, "weight", at::kFloat);
  const at::Tensor product = linear_product(as_factor(x, precision), as_factor(weight, precision), {});
  return relative_difference(product, at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t()));
}

class TextBench {
 public:
  explicit TextBench(const Options& options)
      : options_(options),
        folder_(read_text_folder(options.model)),
        texts_(read_lines(options.texts, options.limit)),
        tokenizer_(folder_.tokenizer.vocabulary, folder_.tokenizer.options),
        product_error_(product_error(precision())) {
    if (static_cast<int64_t>(texts_.size()) < options.batch) {
      throw ConfigError(concat("--texts must hold at least one batch of ", options.batch, ", got ", texts_.size()));
    }
    for (const std::string& text : texts_) lengths_.push_back(code_points(text));
  }

  /// Whether what it measured is right.
  bool run(const std::string& mode) {
    if (!verify("a product", product_error_, options_.bf16 ? 2e-2 : 1e-5)) return false;
    if (mode == "full" || mode == "full_random") return train(mode);
    if (mode == "encode") return encode();
    if (mode == "tokenize") return tokenize();
    throw ConfigError(concat("--mode must be of full, full_random, encode, tokenize, got ", mode));
  }

 private:
  ProductPrecision precision() const {
    return options_.bf16 ? ProductPrecision::kBFloat16 : ProductPrecision::kFloat32;
  }

  using Batch = std::vector<int64_t>;  // places in texts_

  std::vector<Batch> cut(const std::vector<int64_t>& order, int64_t size, bool whole) const {
    std::vector<Batch> batches;
    const auto count = static_cast<int64_t>(order.size());
    for (int64_t i = 0; i < count && (!whole || i + size <= count); i += size) {
      batches.emplace_back(order.begin() + i, order.begin() + std::min(i + size, count));
    }
    return batches;
  }

  void sort_by_length(std::vector<int64_t>& order) const {
    std::ranges::stable_sort(order, {}, [&](int64_t i) { return lengths_[static_cast<size_t>(i)]; });
  }

  /// The peer's batches, from the same random numbers.
  std::vector<Batch> training_batches(bool sorted) const {
    std::vector<int64_t> order = random_order(static_cast<int64_t>(texts_.size()), options_.seed);
    if (!sorted) return cut(order, options_.batch, true);
    sort_by_length(order);
    const std::vector<Batch> groups = cut(order, options_.batch, true);
    std::vector<Batch> batches;
    for (const int64_t g : random_order(static_cast<int64_t>(groups.size()), options_.seed)) {
      batches.push_back(groups[static_cast<size_t>(g)]);
    }
    return batches;
  }

  std::vector<Batch> encoding_batches() const {
    constexpr size_t kMostTexts = 2048;
    std::vector<int64_t> order(std::min(texts_.size(), kMostTexts));
    std::iota(order.begin(), order.end(), 0);
    sort_by_length(order);
    return cut(order, options_.encode_batch, false);
  }

  PackedTexts tokens_of(const Batch& batch) const {
    PackedTexts packed;
    for (const int64_t i : batch) {
      append_text(tokenizer_.encode(texts_[static_cast<size_t>(i)], {.max_tokens = options_.max_len}), packed);
    }
    return packed;
  }

  static std::vector<int64_t> labels_of(const Batch& batch) {
    std::vector<int64_t> labels;
    for (const int64_t i : batch) labels.push_back(i % 2);
    return labels;
  }

  bool train(const std::string& mode);
  bool encode();
  bool tokenize();
  bool verify_training(const TextClassifier& model, const Batch& batch);
  bool verify_vectors(const TextTower& tower, const Batch& batch);
  bool verify(const char* what, double error, double bound);
  void report(const std::string& mode, nlohmann::json figures) const;

  Options options_;
  TextFolder folder_;
  std::vector<std::string> texts_;
  std::vector<int64_t> lengths_;  // code points
  WordPiece tokenizer_;
  double product_error_;
};

bool TextBench::verify(const char* what, double error, double bound) {
  std::cerr << "verify: " << what << ", largest difference from fp64 over largest value " << error << ", bound "
            << bound << std::endl;
  return error < bound;
}

/// Loss and gradients of one step, dropout on, against the plain operations in fp64.
bool TextBench::verify_training(const TextClassifier& model, const Batch& batch) {
  const StepContext context{.seed = 1, .step = 0, .training = true};
  const PackedTexts texts = tokens_of(batch);
  const TextClassifier plain(folder_, at::kDouble, precision());
  const auto run = [&](const TextClassifier& one) {
    const at::Tensor loss = one.loss(texts, labels_of(batch), context);
    loss.backward();
    return loss.detach();
  };
  const at::Tensor actual = run(model), expected = run(plain);
  bool good = verify("loss", relative_difference(actual, expected), options_.bf16 ? 2e-2 : 1e-5);
  double worst = 0.0;
  for (size_t p = 0; p < model.parameters().size(); ++p) {
    at::Tensor& gradient = model.parameters()[p].value.mutable_grad();
    if (!model.parameters()[p].name.ends_with("key.bias")) {  // whose exact gradient is zero
      worst = std::max(worst, relative_difference(gradient, plain.parameters()[p].value.grad()));
    }
    gradient.reset();
  }
  return verify("gradients", worst, options_.bf16 ? 1e-1 : 1e-4) && good;
}

bool TextBench::verify_vectors(const TextTower& tower, const Batch& batch) {
  const auto plain = make_encoder(folder_, at::kDouble, precision());
  const PackedTexts texts = tokens_of(batch);
  return verify("vectors", relative_difference(tower.encode(texts, {}), plain->encode(texts, {})),
                options_.bf16 ? 2e-2 : 1e-5);
}

void TextBench::report(const std::string& mode, nlohmann::json figures) const {
  figures["bench"] = "text";
  figures["mode"] = mode;
  figures["batch"] = options_.batch;
  figures["max_len"] = options_.max_len;
  figures["threads"] = options_.threads;
  figures["bf16"] = options_.bf16;
  figures["product_error"] = product_error_;
  figures["device"] = "cpu";
  std::cout << "RESULT " << figures.dump() << std::endl;
}

bool TextBench::train(const std::string& mode) {
  const std::vector<Batch> batches = training_batches(mode == "full");
  const TextClassifier model(folder_, at::kFloat, precision());
  if (!verify_training(model, batches[0])) return false;
  AdamW optimizer(model.parameters(), {.learning_rate = 2e-5});
  std::vector<double> seconds;
  int64_t tokens = 0;
  double cpu_before = 0.0;
  for (int64_t step = 0; step < options_.warmup + options_.steps; ++step) {
    if (step == options_.warmup) cpu_before = cpu_seconds();
    const Batch& batch = batches[static_cast<size_t>(step) % batches.size()];
    const Stopwatch watch;
    const PackedTexts texts = tokens_of(batch);
    const StepContext context{.seed = 1, .step = step, .training = true};
    model.loss(texts, labels_of(batch), context).backward();
    if (!optimizer.step({.step = step}).finite) throw InternalError("a gradient is not finite");
    if (step < options_.warmup) continue;
    seconds.push_back(watch.seconds());
    tokens += static_cast<int64_t>(texts.tokens.size());
  }
  const double cpu = cpu_seconds() - cpu_before;
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  const auto steps = static_cast<double>(seconds.size());
  report(mode, {{"examples_per_s", static_cast<double>(options_.batch) * steps / total},
                {"tokens_per_s", static_cast<double>(tokens) / total},
                {"step_ms_p50", 1e3 * quantile(seconds, 0.5)},
                {"step_ms_p90", 1e3 * quantile(seconds, 0.9)},
                {"cpu_ms_per_step", 1e3 * cpu / steps},
                {"tokens_per_step", static_cast<double>(tokens) / steps}});
  return true;
}

bool TextBench::encode() {
  const std::vector<Batch> batches = encoding_batches();
  const auto tower = make_encoder(folder_, at::kFloat, precision());
  if (!verify_vectors(*tower, batches[batches.size() / 2])) return false;
  double seconds = 0.0, cpu = 0.0;
  int64_t tokens = 0, texts = 0;
  for (int pass = 0; pass < 2; ++pass) {  // the second counts
    tokens = texts = 0;
    const double cpu_before = cpu_seconds();
    const Stopwatch watch;
    for (const Batch& batch : batches) {
      const PackedTexts packed = tokens_of(batch);
      tower->encode(packed, {});
      tokens += static_cast<int64_t>(packed.tokens.size());
      texts += packed.size();
    }
    seconds = watch.seconds();
    cpu = cpu_seconds() - cpu_before;
  }
  report("encode", {{"texts_per_s", static_cast<double>(texts) / seconds},
                    {"tokens_per_s", static_cast<double>(tokens) / seconds},
                    {"tokens_per_cpu_s", static_cast<double>(tokens) / cpu}});
  return true;
}

/// Many texts in one buffer.
struct TextBlock {
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets{0};

  void add(const std::string& text) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    offsets.push_back(static_cast<int64_t>(bytes.size()));
  }
};

bool TextBench::tokenize() {
  constexpr size_t kTexts = 200'000, kTextsPerCall = 10'000;
  const size_t rounds = std::max<size_t>(1, kTexts / texts_.size());
  std::vector<TextBlock> blocks(1);
  size_t size = 0;
  for (size_t i = 0; i < rounds * texts_.size(); ++i) {
    if (blocks.back().offsets.size() > kTextsPerCall) blocks.emplace_back();
    blocks.back().add(texts_[i % texts_.size()]);
    size += texts_[i % texts_.size()].size();
  }
  const auto encoded = [&](const TextBlock& block) { return tokenizer_.encode_batch({block.bytes, block.offsets}); };
  const TokenizedTexts first = encoded(blocks[0]);
  for (size_t i = 0; i + 1 < first.offsets.size(); ++i) {
    const std::vector<int32_t> alone = tokenizer_.encode(texts_[i % texts_.size()]);
    const auto begin = first.ids.begin() + first.offsets[i], end = first.ids.begin() + first.offsets[i + 1];
    if (!std::equal(begin, end, alone.begin(), alone.end())) return verify("tokens of a text alone", 1.0, 0.0);
  }
  double best = 1e9, best_cpu = 1e9;
  int64_t tokens = 0;
  for (int pass = 0; pass < 3; ++pass) {
    tokens = 0;
    const double cpu_before = cpu_seconds();
    const Stopwatch watch;
    for (const TextBlock& block : blocks) tokens += static_cast<int64_t>(encoded(block).ids.size());
    best = std::min(best, watch.seconds());
    best_cpu = std::min(best_cpu, cpu_seconds() - cpu_before);
  }
  report("tokenize", {{"tokens_per_s", static_cast<double>(tokens) / best},
                      {"tokens_per_cpu_s", static_cast<double>(tokens) / best_cpu},
                      {"mb_per_s", static_cast<double>(size) / best / 1e6}});
  return true;
}

Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description flags;
  flags.add_options()("help", "this text")("model", po::value(&options.model)->value_name("DIR"),
                                           "a Hugging Face folder of a BERT; required")(
      "texts", po::value(&options.texts)->value_name("FILE"), "one text a line, .gz allowed; required")(
      "mode", po::value(&options.mode)->default_value(options.mode), "comma list")(
      "batch", po::value(&options.batch)->default_value(options.batch), "texts of a training step")(
      "encode-batch", po::value(&options.encode_batch)->default_value(options.encode_batch), "texts of an encoding")(
      "max-len", po::value(&options.max_len)->default_value(options.max_len), "tokens that a text is cut to")(
      "steps", po::value(&options.steps)->default_value(options.steps), "measured steps")(
      "warmup", po::value(&options.warmup)->default_value(options.warmup), "steps before them")(
      "limit", po::value(&options.limit)->default_value(options.limit), "texts used")(
      "seed", po::value(&options.seed)->default_value(options.seed), "of the order of the texts")(
      "threads", po::value(&options.threads)->default_value(options.threads), "of this process")(
      "bf16", po::bool_switch(&options.bf16), "round the factors of dense products to bf16");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, flags), values);
  if (values.contains("help")) {
    std::cout << kUsage << flags << kExample;
    std::exit(0);
  }
  po::notify(values);
  for (const char* name : {"model", "texts"}) {
    if (!values.contains(name)) throw ConfigError(concat("--", name, " is required; --help says more"));
  }
  for (const int64_t value : {options.batch, options.encode_batch, options.steps, options.limit}) {
    if (value < 1) throw ConfigError("--batch, --encode-batch, --steps and --limit must be positive");
  }
  return options;
}

bool run(const Options& options) {
  set_threads(options.threads);
  keep_tensor_memory();
  TextBench bench(options);
  std::istringstream modes(options.mode);
  bool good = true;
  for (std::string mode; std::getline(modes, mode, ',');) good = bench.run(mode) && good;
  return good;
}

}  // namespace
}  // namespace rondo::bench

int main(int argc, char** argv) {
  try {
    return rondo::bench::run(rondo::bench::parse(argc, argv)) ? 0 : 1;
  } catch (const rondo::Error& error) {
    std::cerr << "text_bench: " << error.what() << std::endl;
    return static_cast<int>(error.exit_code());
  } catch (const boost::program_options::error& error) {
    std::cerr << "text_bench: " << error.what() << "; --help says more" << std::endl;
    return static_cast<int>(rondo::ExitCode::kUsage);
  } catch (const std::exception& error) {
    std::cerr << "text_bench: " << error.what() << std::endl;
    return 70;
  }
}
