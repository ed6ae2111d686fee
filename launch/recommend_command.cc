#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/command_line.h"
#include "launch/commands.h"
#include "launch/run_setup.h"
#include "sharding/base/check.h"
#include "trainer/data/key_dictionary.h"
#include "trainer/eval/popularity.h"
#include "trainer/loop/model_ranker.h"
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

/// Place of an item by its raw key. A scan: a person asks for a few.
int32_t place_of(const Catalog& catalog, std::string_view raw) {
  for (int64_t place = 0; place < catalog.items(); ++place) {
    if (catalog.raw_keys.at(place) == raw) return static_cast<int32_t>(place);
  }
  throw DataError(concat("--history: the catalogue has no item \"", raw, "\""));
}

/// Adds a user to the log whose events are the given items, just before `at`.
int64_t add_visitor(RecommenderData& data, const Question& question) {
  EventLog& log = data.events;
  std::istringstream items(question.history);
  int64_t place_in_order = 0;
  for (std::string raw; std::getline(items, raw, ',');) {
    log.item.push_back(place_of(data.catalog, raw));
    log.time.push_back(question.at - 1'000'000 + place_in_order++);
    log.behaviour.push_back(0);
    log.value.push_back(1.0F);
    log.basket.push_back(question.at);
  }
  log.user_keys.push_back(0);
  append_text("(--history)", log.raw_users);
  log.user_offsets.push_back(log.events());
  return log.users() - 1;
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

nlohmann::json item_json(const Catalog& catalog, int32_t place) {
  return {{"item", catalog.raw_keys.at(place)}, {"title", catalog.titles.at(place)}};
}

/// The answer: from what, which items, and which way they were found.
nlohmann::json answer(RecommenderData& data, Recommender& recommender, const JobOptions& job, const Question& question,
                      Communicator& comm, int64_t step) {
  int64_t user = question.history.empty() ? data.events.find_user(question.user) : add_visitor(data, question);
  const bool known = user >= 0;
  const EvaluationCase one = known ? case_of(data.events, user, question.at) : EvaluationCase{};
  const bool by_model = !one.history.empty();
  const EvaluationData what{data.catalog, data.events, data.split, data.split_options, HeldOut::kTest};
  ModelRanker model(recommender, data, job.examples, comm, step);
  Popularity popular(what, FloorCounts::kTrain);
  Ranker& ranker = by_model ? static_cast<Ranker&>(model) : popular;
  ranker.prepare({&one, 1});
  const RankedLists lists = ranker.rank({&one, 1}, question.top);

  nlohmann::json out{{"user", known ? std::string(data.events.raw_users.at(user)) : question.user},
                     {"by", by_model ? "model" : "popularity"},
                     {"why", by_model ? ""
                             : known  ? "the user has no history before this time"
                                      : "the user is unknown"},
                     {"history", nlohmann::json::array()},
                     {"items", nlohmann::json::array()}};
  const size_t shown = std::min(kShownHistory, one.history.size());
  for (const int64_t event : std::span(one.history).last(shown)) {
    auto entry = item_json(data.catalog, data.events.item[static_cast<size_t>(event)]);
    entry["behaviour"] = data.events.behaviour_names[data.events.behaviour[static_cast<size_t>(event)]];
    out["history"].push_back(std::move(entry));
  }
  for (size_t i = 0; i < lists.list(0).size(); ++i) {
    auto entry = item_json(data.catalog, lists.list(0)[i]);
    entry["score"] = lists.list_scores(0)[i];
    out["items"].push_back(std::move(entry));
  }
  return out;
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
        ProgressBar progress;
        RecommenderData data = open_data(job.data, process.comm, progress);
        Recommender recommender(model_for(job, data), data, job.seed, process.comm);
        const int64_t step = load_weights(run, (*values)["checkpoint"].as<std::string>(), recommender, process.comm);
        const auto out = answer(data, recommender, job, question, process.comm, step);
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
