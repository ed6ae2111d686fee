// Time to write, verify and load a checkpoint, and the memory that takes beside the rows.
//
//   checkpoint_bench --rows 2000000 --dim 64 --ranks 2 --folder /data/scratch
//   mpirun -n 2 checkpoint_bench --rows 2000000 --dim 64 --folder /data/scratch
//
// Beside them the floor: writing and syncing the same bytes to the same folder in one plain file, and reading them.
// Loaded rows are compared with those saved before anything is printed. `--folder` must exist; what is made there is
// removed.

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"
#include "sharding/base/stopwatch.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/comm/thread_communicator.h"
#include "sharding/handle/mpi_session.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"

namespace rondo {
namespace {

constexpr uint64_t kSeed = 1;
constexpr int64_t kBlock = int64_t{4} << 20;

struct Options {
  int64_t rows = 1'000'000;
  int64_t dim = 64;
  int ranks = 2;
  std::string folder = ".";
};

int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

TableSpec spec_of(const Options& options) {
  return {.name = "item",
          .dim = options.dim,
          .rows = options.rows,
          .optimizer = {.kind = RowOptimizerKind::kRowWiseAdagrad}};
}

/// Makes the rows that this rank owns.
void fill(RowStore& store, int64_t rows) {
  std::vector<uint64_t> keys;
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t key = mix64(static_cast<uint64_t>(row) + 1);
    const int64_t bucket = bucket_of(key, store.spec().buckets);
    if (bucket >= store.range().first && bucket < store.range().last) keys.push_back(key);
  }
  std::vector<int64_t> slots(keys.size());
  store.find_or_create(keys, slots);
}

/// A number that every bit of the rows changes.
uint64_t digest_of(const RowStore& store) {
  uint64_t digest = 0;
  for (int64_t first = store.range().first; first < store.range().last; first += 64) {
    const BucketRows rows = store.export_buckets({first, std::min(store.range().last, first + 64)}).rows;
    const auto* const values = static_cast<const char*>(rows.values.const_data_ptr());
    const auto* const keys = reinterpret_cast<const char*>(rows.keys.data());
    digest = mix64(digest ^ hash_bytes({values, rows.values.nbytes()}));
    digest = mix64(digest ^ hash_bytes({keys, rows.keys.size() * sizeof(uint64_t)}));
  }
  return digest;
}

/// Seconds to write and sync `bytes` in one plain file, then to read them.
std::pair<double, double> floor_seconds(const std::filesystem::path& path, int64_t bytes) {
  std::vector<char> block(kBlock, 'x');
  Stopwatch watch;
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  RONDO_CHECK_GE(file, 0, path.string());
  for (int64_t done = 0; done < bytes; done += kBlock) RONDO_CHECK_EQ(::write(file, block.data(), kBlock), kBlock);
  RONDO_CHECK_EQ(::fsync(file), 0);
  const double write = watch.restart();
  RONDO_CHECK_EQ(::lseek(file, 0, SEEK_SET), 0);
  while (::read(file, block.data(), kBlock) > 0) {
  }
  const double read = watch.seconds();
  ::close(file);
  std::filesystem::remove(path);
  return {write, read};
}

void measure(Communicator& comm, const Options& options) {
  set_threads(1);  // OpenMP keeps the number for each thread that starts regions
  const auto folder = std::filesystem::path(options.folder) / "checkpoint_bench";
  const auto files = make_posix_file_system();
  double write = 0, open = 0, load = 0;
  int64_t bytes = 0;
  std::optional<ShardedEmbedding> embedding;
  CheckpointContent content{.seed = kSeed};
  embedding.emplace(std::vector<TableSpec>{spec_of(options)}, kSeed, comm);
  content.embedding = &*embedding;
  fill(embedding->store(0), options.rows);
  const uint64_t digest = digest_of(embedding->store(0));
  const int64_t before = peak_bytes();
  {
    CheckpointWriter writer(folder, *files, comm, {.keep = 1});
    const Stopwatch watch;
    writer.write(content);
    write = watch.seconds();
  }
  const int64_t beside_writing = peak_bytes() - before;
  embedding.emplace(std::vector<TableSpec>{spec_of(options)}, kSeed + 1, comm);
  {
    Stopwatch watch;
    const auto reader = CheckpointReader::open_latest(folder, comm);
    open = watch.restart();
    reader->load(content);
    load = watch.seconds();
    bytes = reader->manifest().bytes();
  }
  RONDO_CHECK_EQ(digest_of(embedding->store(0)), digest, "loaded rows differ on rank ", comm.rank());
  comm.barrier({Channel::kControl, "end of the measurement"});
  if (comm.rank() != 0) return;
  std::filesystem::remove_all(folder);
  const auto [plain_write, plain_read] = floor_seconds(std::filesystem::path(options.folder) / "floor", bytes);
  const nlohmann::json result{{"bench", "checkpoint"},
                              {"rows", options.rows},
                              {"dim", options.dim},
                              {"world", comm.size()},
                              {"threads", threads()},
                              {"device", "cpu"},
                              {"bytes", bytes},
                              {"write_s", write},
                              {"plain_write_s", plain_write},
                              {"verify_s", open},
                              {"load_s", load},
                              {"plain_read_s", plain_read},
                              {"beside_writing_bytes", beside_writing}};
  std::cout << "RESULT " << result.dump() << std::endl;
}

Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description flags;
  flags.add_options()("rows", po::value(&options.rows))("dim", po::value(&options.dim))(
      "ranks", po::value(&options.ranks))("folder", po::value(&options.folder));
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, flags), values);
  po::notify(values);
  return options;
}

}  // namespace
}  // namespace rondo

int main(int argc, char** argv) {
  rondo::MpiSession session;
  try {
    const rondo::Options options = rondo::parse(argc, argv);
    if (session.size() > 1) {
      rondo::measure(*rondo::make_mpi_communicator(session, {}), options);
    } else {
      rondo::run_ranks(options.ranks, {}, [&](rondo::Communicator& comm) { rondo::measure(comm, options); });
    }
  } catch (const std::exception& error) {
    std::cerr << "checkpoint_bench: " << error.what() << std::endl;
    session.abort(70);
  }
  session.finalize();
  return 0;
}
