#include "trainer/data/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "sharding/base/check.h"
#include "trainer/data/synth_shop.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

/// What is drawn of a user (key) and of a user's event number n (element 64 n + ...).
enum Draw : uint64_t {
  kFavourites = 0,
  kStart = 40,
  kStay = 0,
  kStyleDraw = 1,
  kItem = 2,
  kExplore = 3,
  kGap = 4,
  kFunnel = 5
};

constexpr int64_t kFirstTime = 1'640'995'200;  // 2022-01-01T00:00:00Z, seconds
constexpr int64_t kTimeLine = 365LL * 86'400;  // seconds
constexpr uint64_t kFavouriteStyles = 3;

/// Text into a file, a buffer at a time, every failure an error.
class TextFile {
 public:
  explicit TextFile(const std::filesystem::path& path) : path_(path), file_(std::fopen(path.c_str(), "w")) {
    if (!file_)
      throw StorageError(concat("cannot create ", path.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }

  template <typename... Parts>
  void print(fmt::format_string<Parts...> format, Parts&&... parts) {
    fmt::format_to(std::back_inserter(buffer_), format, std::forward<Parts>(parts)...);
    if (buffer_.size() >= (size_t{1} << 20)) flush();
  }

  void close() {
    flush();
    if (std::fclose(file_.release()) != 0) fail();
  }

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  [[noreturn]] void fail() const {
    throw StorageError(concat("cannot write ", path_.string(), ": ", std::strerror(errno)));
  }

  void flush() {
    if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_.get()) != buffer_.size()) fail();
    buffer_.clear();
  }

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Closer> file_;
  fmt::memory_buffer buffer_;
};

void write_catalog(const SynthShop& shop, const std::filesystem::path& path) {
  TextFile file(path);
  file.print("item_id,title,description,category,brand,price\n");
  for (int64_t item = 0; item < shop.items(); ++item) {
    const int64_t cents = shop.price_cents(item);
    file.print("i{},{},{},{},{},{}.{:02}\n", item, shop.title(item), shop.description(item), shop.category(item),
               shop.brand(item), cents / 100, cents % 100);
  }
  file.close();
}

/// One user's walk through the shop.
class SynthUser {
 public:
  SynthUser(const SynthShop& shop, const CounterRandom& random, int64_t user, int64_t events)
      : shop_(shop), random_(random), user_(user), events_(events) {
    const auto start = random_.below(static_cast<uint64_t>(kTimeLine / 2), key(), kStart);
    time_ = kFirstTime + static_cast<int64_t>(start);
    step_ = std::max<int64_t>((kFirstTime + kTimeLine - time_) / std::max<int64_t>(events, 1), 1);
    style_ = favourite(0);
  }

  /// Writes the user's events, `events` of them.
  void write(TextFile& file) {
    for (int64_t n = 0; n < events_;) {
      visit(n);
      const uint64_t funnel = random_.below(10, key(), element(n, kFunnel));
      const int64_t depth = std::min<int64_t>(funnel < 6 ? 1 : funnel < 8 ? 2 : 3, events_ - n);
      constexpr const char* kBehaviours[] = {"view", "cart", "buy"};
      for (int64_t i = 0; i < depth; ++i) file.print("u{},i{},{},{}\n", user_, item_, time_ + 30 * i, kBehaviours[i]);
      n += depth;
    }
  }

 private:
  uint64_t key() const { return static_cast<uint64_t>(user_) + (uint64_t{1} << 40); }
  static uint64_t element(int64_t n, Draw draw) { return 64 * (static_cast<uint64_t>(n) + 1) + draw; }

  int64_t favourite(uint64_t which) const {
    return static_cast<int64_t>(random_.below(static_cast<uint64_t>(shop_.styles()), key(), kFavourites + which));
  }

  /// The next item: mostly of the style of the last one, else of another favourite, seldom of any style.
  void visit(int64_t n) {
    time_ += 1 + static_cast<int64_t>(random_.below(static_cast<uint64_t>(2 * step_), key(), element(n, kGap)));
    time_ = std::min(time_, kFirstTime + kTimeLine - 120);
    if (random_.below(100, key(), element(n, kStay)) >= 80) {
      style_ = favourite(random_.below(kFavouriteStyles, key(), element(n, kStyleDraw)));
    }
    int64_t style = style_;
    if (random_.below(100, key(), element(n, kExplore)) < 10) {
      style =
          static_cast<int64_t>(random_.below(static_cast<uint64_t>(shop_.styles()), key(), element(n, kExplore) + 8));
    }
    const auto now = static_cast<uint32_t>((time_ - kFirstTime) * 65536 / kTimeLine);
    for (uint64_t attempt = 0; attempt < 4; ++attempt) {  // a style may have nothing on sale yet
      const int64_t item = shop_.pick(style, now, random_.bits(key(), element(n, kItem) + 16 * attempt));
      if (item >= 0 && item != item_) {
        item_ = item;
        return;
      }
    }
  }

  const SynthShop& shop_;
  const CounterRandom& random_;
  int64_t user_;
  int64_t events_;
  int64_t time_ = 0;
  int64_t step_ = 1;
  int64_t style_ = 0;
  int64_t item_ = 0;
};

/// Events of each user: all have five at least when there are enough; some have many more.
int64_t events_of_user(const SynthOptions& options, const CounterRandom& random, int64_t user, int64_t left) {
  const int64_t users_left = options.users - user;
  if (users_left == 1) return left;
  const int64_t mean = left / users_left;
  const auto factor =
      1 + random.below(4, static_cast<uint64_t>(user), 1) * random.below(3, static_cast<uint64_t>(user), 2);
  return std::clamp<int64_t>(mean * static_cast<int64_t>(factor) / 3, std::min<int64_t>(5, mean), left);
}

}  // namespace

void validate(const SynthOptions& options) {
  const auto require = [](int64_t value, int64_t low, int64_t high, const char* field) {
    if (value < low || value > high)
      throw ConfigError(concat(field, " must be from ", low, " to ", high, ", got ", value));
  };
  require(options.users, 1, 100'000'000, "users");
  require(options.items, 10, 100'000'000, "items");
  require(options.events, 1'000, 100'000'000, "events");
}

SynthReport synthesize(const SynthOptions& options, const std::filesystem::path& folder, Progress& progress) {
  validate(options);
  make_posix_file_system()->make_folder(folder);
  SynthReport report{folder / "catalog.csv", folder / "events.csv", 0};
  const SynthShop shop(options.seed, options.items);
  write_catalog(shop, report.catalog);

  const CounterRandom random(options.seed, 1, RandomPurpose::kSynth);
  TextFile file(report.events);
  file.print("user_id,item_id,time,behaviour\n");
  progress.begin("synth", options.events, "events");
  for (int64_t user = 0; user < options.users && report.events_written < options.events; ++user) {
    const int64_t count = events_of_user(options, random, user, options.events - report.events_written);
    SynthUser(shop, random, user, count).write(file);
    report.events_written += count;
    progress.advance(report.events_written);
  }
  file.close();
  progress.end();
  return report;
}

}  // namespace rondo
