#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_setup.h"
#include "launch/serving.h"
#include "sharding/base/check.h"
#include "trainer/eval/index_lookup.h"
#include "trainer/eval/popularity.h"
#include "trainer/loop/index_ranker.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {
namespace {

namespace po = boost::program_options;

constexpr size_t kShownHistory = 10;

/// For whom, and from what.
struct Question {
  std::string user;
  std::string history;  // raw item keys, separated by commas
  int64_t top = 10;
  int64_t at = 0;  // microseconds UTC: what time decay counts to
};

/// A user who did what the question says, a second before it, and nothing else.
EventLog visitor(const std::vector<int32_t>& items, int64_t at) {
  EventLog log;
  log.user_offsets = {0, static_cast<int64_t>(items.size())};
  log.user_keys = {0};
  append_text("(--history)", log.raw_users);
  for (size_t i = 0; i < items.size(); ++i) {
    log.item.push_back(items[i]);
    log.time.push_back(at - 1'000'000 + static_cast<int64_t>(i));
    log.behaviour.push_back(kNoBehaviour);
    log.value.push_back(1.0F);
    log.basket.push_back(at);
  }
  return log;
}

std::vector<std::string> split_keys(const std::string& keys) {
  std::vector<std::string> out;
  std::istringstream stream(keys);
  for (std::string key; std::getline(stream, key, ',');) out.push_back(key);
  return out;
}

/// The items of --history. Throws DataError naming one that the index lacks.
std::vector<int32_t> asked_items(Communicator& comm, const ItemIndex& index, const std::string& keys) {
  const auto raw = split_keys(keys);
  const auto places = find_items(comm, index, raw);
  for (size_t i = 0; i < raw.size(); ++i) {
    if (places[i] < 0) throw DataError(concat("--history: the catalogue has no item \"", raw[i], "\""));
  }
  return places;
}

EvaluationCase case_of(const EventLog& log, int64_t user, int64_t at) {
  EvaluationCase out;
  out.user = user;
  out.time = at;
  for (auto event = log.user_offsets[static_cast<size_t>(user)];
       event < log.user_offsets[static_cast<size_t>(user) + 1]; ++event) {
    if (log.time[static_cast<size_t>(event)] >= at) continue;
    out.history.push_back(event);
    out.masked.push_back(log.item[static_cast<size_t>(event)]);
  }
  std::sort(out.masked.begin(), out.masked.end());
  out.masked.erase(std::unique(out.masked.begin(), out.masked.end()), out.masked.end());
  return out;
}

/// One answer, the same on every rank.
struct Answer {
  std::string user;
  std::string why_popular;       // empty: the model found the items
  std::vector<int64_t> history;  // events of `log`, the latest
  RankedLists items;             // one list
};

/// Who asks, with the log that holds the history.
struct Asker {
  const EventLog& log;
  int64_t user = -1;  // -1: unknown
};

Answer answer(const Serving& serving, const Asker& asker, const JobOptions& job, const Question& question,
              Communicator& comm) {
  const bool known = asker.user >= 0;
  const EvaluationCase one = known ? case_of(asker.log, asker.user, question.at) : EvaluationCase{};
  Answer out{known ? std::string(asker.log.raw_users.at(asker.user)) : question.user, "", {}, {}};
  const size_t shown = std::min(kShownHistory, one.history.size());
  out.history.assign(one.history.end() - static_cast<std::ptrdiff_t>(shown), one.history.end());
  IndexRanker model(comm, serving.index, asker.log, serving.model, job.examples);
  if (!known) {
    out.why_popular = "the user is unknown";
  } else if (one.history.empty()) {
    out.why_popular = "the user has no history before this time";
  } else if (model.user_vectors({&one, 1}).norm().item<double>() == 0.0) {
    out.why_popular = "the model knows nothing of what is in the history";
  } else {
    out.items = model.rank({&one, 1}, question.top);
    return out;
  }
  if (!serving.data) {
    throw DataError(
        concat(out.why_popular, ", and what is popular is known where the dataset is: --set data.dataset=DIR"),
        ExitCode::kMissingInput);
  }
  const RecommenderData& data = *serving.data;
  const EvaluationData what{data.catalog, data.events, data.split, data.split_options, HeldOut::kTest};
  out.items = Popularity(what, FloorCounts::kTrain).rank({&one, 1}, question.top);
  return out;
}

nlohmann::json item_json(const ItemTexts& item) { return {{"item", item.raw_key}, {"title", item.title}}; }

nlohmann::json to_json(const Answer& answer, const Serving& serving, const EventLog& log, Communicator& comm) {
  nlohmann::json out{{"user", answer.user},
                     {"by", answer.why_popular.empty() ? "model" : "popularity"},
                     {"why", answer.why_popular},
                     {"checkpoint", serving.checkpoint.filename().string()},
                     {"index", serving.stored ? "stored" : "computed"},
                     {"history", nlohmann::json::array()},
                     {"items", nlohmann::json::array()}};
  std::vector<int32_t> places;
  for (const int64_t event : answer.history) places.push_back(log.item[static_cast<size_t>(event)]);
  const auto found = answer.items.list(0);
  places.insert(places.end(), found.begin(), found.end());
  const auto texts = item_texts(comm, serving.index, places);
  for (size_t i = 0; i < answer.history.size(); ++i) {
    auto entry = item_json(texts[i]);
    const uint8_t behaviour = log.behaviour[static_cast<size_t>(answer.history[i])];
    entry["behaviour"] = behaviour < log.behaviour_names.size() ? log.behaviour_names[behaviour] : "";
    out["history"].push_back(std::move(entry));
  }
  for (size_t i = 0; i < found.size(); ++i) {
    auto entry = item_json(texts[answer.history.size() + i]);
    entry["score"] = answer.items.list_scores(0)[i];
    out["items"].push_back(std::move(entry));
  }
  return out;
}

/// Opens what the question needs and answers it. Collective.
nlohmann::json recommend(const RunFolder& run, const std::string& checkpoint, const JobOptions& job,
                         const Question& question, Communicator& comm) {
  ProgressBar progress;
  const Serving serving = open_serving(run, checkpoint, job, comm, progress);
  if (question.history.empty() && !serving.data) {
    throw DataError(concat("no dataset in \"", job.data.dataset.string(), "\", where the histories of users are: ",
                           "--set data.dataset=DIR says where it is, --history KEY,KEY asks without it"),
                    ExitCode::kMissingInput);
  }
  const EventLog asked =
      question.history.empty() ? EventLog{} : visitor(asked_items(comm, serving.index, question.history), question.at);
  const Asker asker = question.history.empty()
                          ? Asker{serving.data->events, serving.data->events.find_user(question.user)}
                          : Asker{asked, 0};
  return to_json(answer(serving, asker, job, question, comm), serving, asker.log, comm);
}

void print_for_people(const nlohmann::json& out) {
  std::string text = fmt::format("User {}: latest history\n", out["user"].get<std::string>());
  for (const auto& entry : out["history"]) {
    text += fmt::format("  {:<8} {:<12} {}\n", entry["behaviour"].get<std::string>(), entry["item"].get<std::string>(),
                        entry["title"].get<std::string>());
  }
  const std::string why = out["why"].get<std::string>();
  text += why.empty() ? "Recommended by the model\n" : fmt::format("Recommended by popularity: {}\n", why);
  for (const auto& entry : out["items"]) {
    text += fmt::format("  {:8.4f} {:<12} {}\n", entry["score"].get<double>(), entry["item"].get<std::string>(),
                        entry["title"].get<std::string>());
  }
  std::fputs(text.c_str(), stdout);
}

Question question_of(const po::variables_map& values) {
  Question question;
  if (values.count("user") > 0) question.user = values["user"].as<std::string>();
  if (values.count("history") > 0) question.history = values["history"].as<std::string>();
  question.top = values["top"].as<int64_t>();
  if (question.user.empty() == question.history.empty()) {
    throw ConfigError("recommend needs either --user KEY or --history KEY,KEY", ExitCode::kUsage);
  }
  if (question.top < 1 || question.top > 10'000) {
    throw ConfigError(concat("--top must be from 1 to 10000, got ", question.top), ExitCode::kUsage);
  }
  using std::chrono::microseconds;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  question.at = values.count("at") > 0 ? values["at"].as<int64_t>() * 1'000'000
                                       : std::chrono::duration_cast<microseconds>(now).count();
  return question;
}

}  // namespace

int run_recommend(int argc, char** argv) {
  const CommandHelp help{"recommend", "recommends items to a user or to a history",
                         "rondo recommend --run runs/first --user u1 --top 10"};
  po::options_description options;
  options.add_options()("run", po::value<std::string>()->required(), "run folder that rondo train made")(
      "checkpoint", po::value<std::string>()->default_value(""), "name below checkpoints/ (default: the newest)")(
      "user", po::value<std::string>(), "a user of the dataset, as in the source")(
      "history", po::value<std::string>(), "items, as in the source, oldest first: KEY,KEY")(
      "top", po::value<int64_t>()->default_value(10), "how many items")(
      "at", po::value<int64_t>(), "time that ages count to, Unix seconds (default: now)")(
      "json", po::bool_switch(), "one JSON object on standard output, nothing else");
  add_job_options(options);
  const auto values = parse_command_line(help, options, argc, argv);
  if (!values) return 0;
  const Question question = question_of(*values);
  const RunFolder run((*values)["run"].as<std::string>());
  const JobOptions job = job_of_run(run, named_files(*values), assignments(*values));
  run_as_rank(
      rank_options(job),
      [&](RankProcess& process) {
        process.beat(Phase::kEvaluation, 0);
        const auto out = recommend(run, (*values)["checkpoint"].as<std::string>(), job, question, process.comm);
        if (process.comm.rank() != 0) return;
        if ((*values)["json"].as<bool>()) {
          std::puts(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
        } else {
          print_for_people(out);
        }
      },
      [](const RankFailure&) {});
  return 0;
}

}  // namespace rondo
