#include "tests/bench/id_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace rondo::bench {
namespace {

using ::testing::ElementsAre;

/// What the peer's program prints for `--dump-ids 6` and the options beside it.
struct Dump {
  const char* flags;
  IdStreamOptions options;
  const char* text;
};

const std::array<Dump, 3> kDumps{{
    {"--rows 1000000 --tables 8",
     {},
     "batch=0 rank=0 table=0 lengths=[20, 20, 20, 20] ids=[754905, 731706, 309721, 570663, 574927, 0]\n"
     "batch=0 rank=1 table=0 lengths=[20, 20, 20, 20] ids=[178805, 716734, 727081, 458264, 143106, 0]\n"
     "batch=1 rank=0 table=1 lengths=[20, 20, 20, 20] ids=[646327, 230066, 297575, 187308, 2598, 378493]\n"},
    {"--rows 50000 --alpha 0 --pooling-dist uniform",
     {.rows = 50'000, .uniform_lengths = true, .alpha = 0.0},
     "batch=0 rank=0 table=0 lengths=[2, 13, 9, 22] ids=[38372, 6288, 30619, 21204, 24430, 45693]\n"
     "batch=0 rank=1 table=0 lengths=[2, 32, 34, 17] ids=[18738, 26777, 293, 7717, 27535, 31125]\n"
     "batch=1 rank=0 table=1 lengths=[29, 33, 17, 6] ids=[1580, 33368, 29504, 23607, 19800, 30996]\n"},
    {"--rows 700 --alpha 1.0 --id-layout ranked --pooling-dist uniform",
     {.rows = 700, .uniform_lengths = true, .alpha = 1.0, .scatter = false},
     "batch=0 rank=0 table=0 lengths=[2, 13, 9, 22] ids=[14, 148, 27, 70, 394, 0]\n"
     "batch=0 rank=1 table=0 lengths=[2, 32, 34, 17] ids=[2, 338, 15, 6, 64, 0]\n"
     "batch=1 rank=0 table=1 lengths=[29, 33, 17, 6] ids=[314, 36, 38, 302, 8, 72]\n"},
}};

std::string output_of(const std::string& command) {
  std::string text;
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  std::array<char, 4096> part{};
  for (size_t n = 0; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) text.append(part.data(), n);
  return pclose(pipe) == 0 ? text : "";
}

TEST(IdStream, GivesTheIdsOfThePeer) {
  for (const Dump& dump : kDumps) EXPECT_EQ(dump_ids(dump.options, 6), dump.text) << dump.flags;
}

TEST(IdStream, AgreesWithThePeersProgram) {
  const char* given = std::getenv("RONDO_PEERS");
  const auto peers = given != nullptr ? std::filesystem::path(given)
                                      : std::filesystem::path(std::getenv("RONDO_SOURCE_DIR")) / "../shared/peers";
  const auto program = peers / "torchrec_bench.py";
  if (!std::filesystem::exists(program)) GTEST_SKIP() << "no torchrec_bench.py in " << peers << " (RONDO_PEERS)";
  if (output_of("python3 --version").empty()) GTEST_SKIP() << "no python3";
  for (const Dump& dump : kDumps) {
    const std::string command = "python3 '" + program.string() + "' --dump-ids 500 " + dump.flags;
    EXPECT_EQ(dump_ids(dump.options, 500), output_of(command)) << command;
  }
}

TEST(IdStream, OffsetsAndIdsAreThoseOfEachExample) {
  const IdStream stream({.rows = 10, .batch = 3, .uniform_lengths = true});
  const StreamPlace place{.batch = 0, .rank = 1, .table = 0};
  EXPECT_THAT(stream.offsets(place), ElementsAre(0, 2, 34, 68));
  EXPECT_THAT(stream.ids(place, 2), ElementsAre(stream.id(place, 0), stream.id(place, 1)));
}

}  // namespace
}  // namespace rondo::bench
