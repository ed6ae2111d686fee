// Drives LLVMFuzzerTestOneInput without libFuzzer: each seed of the target, then mutations of the seeds (bytes changed,
// removed, repeated, parts of two seeds joined), the same on every machine. What the target aborts on is printed first
// where a file is given, so that it can be run again: `target INPUT...` runs files. `target --seconds N` goes on with
// further mutations until so much time has passed.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "sharding/base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" const char* const kFuzzSeeds[];  // ends with nullptr

namespace {

constexpr uint64_t kRounds = 20000;

std::string current;  // what runs now, for the report

void report(int signal_number) {
  const char text[] = "fuzz target failed on the bytes in fuzz_failure.bin (run: target fuzz_failure.bin)\n";
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(1);
  std::FILE* file = std::fopen("fuzz_failure.bin", "wb");
  if (file != nullptr) {
    std::fwrite(current.data(), 1, current.size(), file);
    std::fclose(file);
  }
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void run(const std::string& input) {
  current = input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& seeds) : seeds_(seeds) {}

  std::string mutate(uint64_t round) {
    round_ = round;
    element_ = 0;
    std::string text = seeds_[draw(seeds_.size())];
    for (uint64_t change = 0; change <= draw(6); ++change) apply(text);
    return text;
  }

 private:
  uint64_t draw(uint64_t bound) { return random_.below(bound, round_, element_++); }

  void apply(std::string& text) {
    const size_t at = draw(text.size() + 1);
    const std::string& other = seeds_[draw(seeds_.size())];
    switch (draw(5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(draw(256));
        break;
      case 1:
        text.erase(at, draw(4));
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(draw(256)));
        break;
      case 3:
        text.insert(at, text.substr(at / 2, draw(9)));
        break;
      default:
        text = text.substr(0, at) + other.substr(draw(other.size() + 1));
    }
  }

  const std::vector<std::string>& seeds_;
  rondo::CounterRandom random_{1, 0, rondo::RandomPurpose::kTest};
  uint64_t round_ = 0;
  uint64_t element_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, report);
  std::signal(SIGSEGV, report);
  const bool timed = argc == 3 && std::string(argv[1]) == "--seconds";
  const std::chrono::seconds wanted(timed ? std::stoll(argv[2]) : 0);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 1; i < argc && !timed; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    run(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  if (argc > 1 && !timed) return 0;
  std::vector<std::string> seeds;
  for (const char* const* seed = kFuzzSeeds; *seed != nullptr; ++seed) seeds.emplace_back(*seed);
  for (const std::string& seed : seeds) run(seed);
  Mutator mutator(seeds);
  uint64_t round = 0;
  for (; round < kRounds || std::chrono::steady_clock::now() - start < wanted; ++round) run(mutator.mutate(round));
  std::printf("%zu seeds and %llu mutations passed\n", seeds.size(), static_cast<unsigned long long>(round));
  return 0;
}
