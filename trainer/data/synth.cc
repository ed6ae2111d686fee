#include "trainer/data/synth.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "sharding/base/check.h"
#include "trainer/data/synth_shop.h"
#include "trainer/data/synth_walk.h"
#include "trainer/data/synth_words.h"
#include "trainer/data/text_output.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

constexpr int64_t kLeastEventsOfAUser = 5;

void append(int64_t number, std::string& text) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  text.append(digits, static_cast<size_t>(end - digits));
}

void write_catalog(const SynthShop& shop, uint64_t seed, const std::filesystem::path& path, Progress& progress) {
  progress.begin("synth catalogue", shop.items(), "items");
  const SynthWords words(shop, seed);
  TextOutput file(path);
  std::string& text = file.buffer();
  text += "item_id,title,description,category,brand,price\n";
  for (int64_t item = 0; item < shop.items(); ++item) {
    text += 'i';
    append(item, text);
    words.append_title(item, text += ',');
    words.append_description(item, text += ',');
    words.append_category(item, text += ',');
    words.append_brand(item, text += ',');
    const int64_t cents = words.price_cents(item);
    append(cents / 100, text += ',');
    text += '.';
    text += static_cast<char>('0' + cents / 10 % 10);
    text += static_cast<char>('0' + cents % 10);
    text += '\n';
    file.flush_full();
    if (item % 4096 == 0) progress.advance(item);
  }
  file.commit();
  progress.advance(shop.items());
  progress.end();
}

/// How many events each user has: a share for all, and the rest by weights that follow a power law.
class Activity {
 public:
  explicit Activity(const SynthOptions& options)
      : random_(options.seed, 3, RandomPurpose::kSynth),
        least_(std::min(kLeastEventsOfAUser, options.events / options.users)),
        rest_(options.events - least_ * options.users) {
    for (int64_t user = 0; user < options.users; ++user) total_ += weight(user);
  }

  /// Of the users 0, 1, 2, ... in turn.
  int64_t next() {
    const int64_t before = share();
    sum_ += weight(user_++);
    return least_ + share() - before;
  }

 private:
  /// In [15, 255]: 2^20 / (2^12 + a number below 2^16).
  uint64_t weight(int64_t user) const {
    return (uint64_t{1} << 20) / ((uint64_t{1} << 12) + random_.below(1 << 16, static_cast<uint64_t>(user), 0));
  }

  int64_t share() const {
    return static_cast<int64_t>(static_cast<unsigned __int128>(sum_) * static_cast<uint64_t>(rest_) / total_);
  }

  CounterRandom random_;
  int64_t least_;
  int64_t rest_;
  uint64_t total_ = 0;
  uint64_t sum_ = 0;
  int64_t user_ = 0;
};

void append_event(int64_t user, int64_t first_session, const SynthEvent& event, std::string& text) {
  constexpr std::string_view kBehaviours[] = {",view,", ",cart,", ",buy,"};
  append(user, text += 'u');
  append(event.item, text += ",i");
  append(event.time, text += ',');
  append(first_session + event.session, text += kBehaviours[static_cast<size_t>(event.behaviour)]);
  text += '\n';
}

void write_events(const SynthShop& shop, const SynthOptions& options, const std::filesystem::path& path,
                  Progress& progress) {
  progress.begin("synth events", options.events, "events");
  TextOutput file(path);
  file.buffer() += "user_id,item_id,time,behaviour,session_id\n";
  Activity activity(options);
  int64_t written = 0;
  for (int64_t user = 0; user < options.users; ++user) {
    const int64_t first_session = written;  // no user has more sessions than events
    SynthWalk walk(shop, options.seed, user, activity.next());
    for (; !walk.done(); ++written) {
      append_event(user, first_session, walk.next(), file.buffer());
      file.flush_full();
    }
    if (user % 256 == 0) progress.advance(written);
  }
  RONDO_CHECK_EQ(written, options.events);
  file.commit();
  progress.advance(written);
  progress.end();
}

/// As a string of a text message.
std::string quoted(const std::filesystem::path& path) {
  std::string text = "\"";
  for (const char c : path.string()) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

void write_schema(const SynthReport& report) {
  TextOutput file(report.schema);
  file.buffer() = concat("# How `rondo ingest` reads this shop: give it with --job.\n", "schema {\n",
                         "  event_file { path: ", quoted(report.events), " }\n",
                         "  events {\n"
                         "    user: \"user_id\"\n"
                         "    item { column: \"item_id\" }\n"
                         "    time: \"time\"\n"
                         "    time_format: UNIX_SECONDS\n"
                         "    behaviour: \"behaviour\"\n"
                         "    basket: \"session_id\"\n"
                         "  }\n"
                         "  catalog_file { path: ",
                         quoted(report.catalog), " }\n",
                         "  catalog {\n"
                         "    item: \"item_id\"\n"
                         "    title: \"title\"\n"
                         "    text: \"title\"\n"
                         "    text: \"description\"\n"
                         "    feature { name: \"category\" column: \"category\" }\n"
                         "    feature { name: \"brand\" column: \"brand\" }\n"
                         "  }\n"
                         "}\n");
  file.commit();
}

}  // namespace

void validate(const SynthOptions& options) {
  constexpr int64_t kMax = 100'000'000;
  const auto check = [](int64_t value, int64_t least, int64_t most, const char* field) {
    if (value < least || value > most) {
      throw ConfigError(concat(field, " must be from ", least, " to ", most, ", got ", value));
    }
  };
  check(options.events, 1'000, kMax, "events");
  check(options.items, 10, kMax, "items");
  if (options.users < 1 || options.users > options.events) {
    throw ConfigError(concat("users must be from 1 to events, ", options.events, ", got ", options.users));
  }
}

SynthReport synthesize(const SynthOptions& options, const std::filesystem::path& folder, Progress& progress) {
  validate(options);
  make_posix_file_system()->make_folder(folder);
  SynthReport report;
  report.catalog = folder / "catalog.csv";
  report.events = folder / (options.gzip ? "events.csv.gz" : "events.csv");
  report.schema = folder / "schema.textproto";
  const SynthShop shop(options.seed, options.items);
  write_catalog(shop, options.seed, report.catalog, progress);
  write_events(shop, options, report.events, progress);
  write_schema(report);
  report.events_written = options.events;
  return report;
}

}  // namespace rondo
