#include "trainer/eval/evaluation_report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/number_text.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

std::string coverage_name(int64_t k) { return concat("coverage@", k); }

Json metrics_json(const EvaluationReport& report, const RankerResult& result) {
  Json metrics;
  for (size_t column = 0; column < result.metrics.size(); ++column) {
    metrics[report.columns.name(static_cast<int64_t>(column))] = result.metrics[column];
  }
  for (size_t cutoff = 0; cutoff < result.coverage.size(); ++cutoff) {
    metrics[coverage_name(report.columns.ks()[cutoff])] = result.coverage[cutoff];
  }
  return metrics;
}

Json buckets_json(const EvaluationReport& report, const RankerResult& result) {
  Json buckets;
  for (int bucket = 0; bucket < BucketHits::kBuckets; ++bucket) {
    Json& one = buckets[std::string(BucketHits::kNames[static_cast<size_t>(bucket)])];
    one["targets"] = result.buckets.pairs(bucket);
    for (size_t cutoff = 0; cutoff < report.columns.ks().size(); ++cutoff) {
      one[concat("hr@", report.columns.ks()[cutoff])] = result.buckets.hit_rate(bucket, cutoff);
    }
  }
  return buckets;
}

/// {"hr@5": {"difference": ..., "low": ..., "high": ...}, ...}
Json intervals_json(const EvaluationReport& report, const std::vector<Interval>& intervals) {
  Json all;
  for (size_t column = 0; column < intervals.size(); ++column) {
    all[report.columns.name(static_cast<int64_t>(column))] = {
        {"difference", intervals[column].mean}, {"low", intervals[column].low}, {"high", intervals[column].high}};
  }
  return all;
}

Json minus_floors(const EvaluationReport& report) {
  Json minus = Json::object();
  for (const RankerResult& result : report.rankers) {
    if (!result.first_minus_this.empty()) minus[result.name] = intervals_json(report, result.first_minus_this);
  }
  return minus;
}

Json head_json(const EvaluationReport& report, const RankerResult& result) {
  Json line{{"event", "eval"}};
  if (report.step >= 0) line["step"] = report.step;
  if (report.epoch >= 0) line["epoch"] = report.epoch;
  line["split"] = report.held_out;
  line["model"] = result.name;
  line["users"] = report.users;
  line["catalogue"] = report.catalogue;
  line["protocol"] = {{"split", report.split},
                      {"ranking", report.ranking},
                      {"history", report.history},
                      {"ties", report.ties},
                      {"candidates", report.candidates},
                      {"targets", report.targets},
                      {"dropped_repeats", report.dropped_repeats},
                      {"users_held_out", report.cases},
                      {"users_without_history", report.users_without_history},
                      {"sample_seed", report.sample_seed}};
  if (!result.counts.empty()) line["counts"] = result.counts;
  return line;
}

Json line_json(const EvaluationReport& report, size_t ranker) {
  const RankerResult& result = report.rankers[ranker];
  Json line = head_json(report, result);
  if (!result.skipped.empty()) {
    line["skipped"] = result.skipped;
    return line;
  }
  line["metrics"] = metrics_json(report, result);
  line["buckets"] = buckets_json(report, result);
  if (!result.metrics_without_history.empty()) {
    Json& apart = line["metrics_without_history"];
    for (size_t column = 0; column < result.metrics_without_history.size(); ++column) {
      apart[report.columns.name(static_cast<int64_t>(column))] = result.metrics_without_history[column];
    }
  }
  if (Json minus = minus_floors(report); ranker == 0 && !minus.empty()) {
    line["minus"] = std::move(minus);
    line["confidence"] = report.confidence;
    line["resamples"] = report.resamples;
  }
  line["seconds"] = result.seconds;
  return line;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string fixed(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4f", value);
  return text.data();
}

std::string with_sign(double value) { return (value < 0.0 ? "" : "+") + fixed(value); }

/// Rows of cells: the first column to the left, the others to the right.
class Table {
 public:
  void add(std::vector<std::string> row) {
    widths_.resize(std::max(widths_.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].size());
    rows_.push_back(std::move(row));
  }

  std::string text() const {
    std::string out;
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string space(widths_[i] - row[i].size(), ' ');
        out += i == 0 ? "  " + row[i] + space : "  " + space + row[i];
      }
      out.erase(out.find_last_not_of(' ') + 1);
      out += '\n';
    }
    return out;
  }

 private:
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

/// A row of one value of each ranker that ranked.
template <typename Value>
void add_row(const EvaluationReport& report, std::string name, const Value& value, Table& table) {
  std::vector<std::string> row{std::move(name)};
  for (const RankerResult& result : report.rankers) {
    if (result.skipped.empty()) row.push_back(value(result));
  }
  table.add(std::move(row));
}

std::string heading(const EvaluationReport& report) {
  std::string text = concat(report.held_out, ": ", with_thousands(report.users), " users");
  if (report.users + report.users_without_history < report.cases) {
    text += concat(" (sampled from ", with_thousands(report.cases), ", seed ", report.sample_seed, ")");
  }
  text += concat(", ", with_thousands(report.targets), " held-out items, ", with_thousands(report.candidates), " of ",
                 with_thousands(report.catalogue), " items ranked\n");
  text += concat("protocol: ", report.split, ", history ", report.history, ", ties by ", report.ties);
  if (report.dropped_repeats > 0) text += concat(", ", with_thousands(report.dropped_repeats), " repeats dropped");
  return text + "\n";
}

std::string metrics_table(const EvaluationReport& report) {
  Table table;
  add_row(report, "", [](const RankerResult& result) { return result.name; }, table);
  for (size_t column = 0; column < static_cast<size_t>(report.columns.size()); ++column) {
    add_row(
        report, report.columns.name(static_cast<int64_t>(column)),
        [&](const RankerResult& result) { return fixed(result.metrics[column]); }, table);
  }
  for (size_t cutoff = 0; cutoff < report.columns.ks().size(); ++cutoff) {
    add_row(
        report, coverage_name(report.columns.ks()[cutoff]),
        [&](const RankerResult& result) { return fixed(result.coverage[cutoff]); }, table);
  }
  add_row(
      report, "counts", [](const RankerResult& result) { return result.counts.empty() ? "-" : result.counts; }, table);
  add_row(report, "time", [](const RankerResult& result) { return duration_text(result.seconds); }, table);
  return table.text();
}

/// The cutoff that the shorter tables show: 10 where it is there, else the middle one.
size_t shown_cutoff(const EvaluationReport& report) {
  const auto& ks = report.columns.ks();
  const auto ten = std::ranges::find(ks, 10);
  return ten != ks.end() ? static_cast<size_t>(ten - ks.begin()) : ks.size() / 2;
}

std::string buckets_table(const EvaluationReport& report) {
  const size_t cutoff = shown_cutoff(report);
  Table table;
  for (int bucket = 0; bucket < BucketHits::kBuckets; ++bucket) {
    const auto& counted =
        std::ranges::find_if(report.rankers, [](const auto& r) { return r.skipped.empty(); })->buckets;
    add_row(
        report,
        concat("trained ", BucketHits::kNames[static_cast<size_t>(bucket)], " times (",
               with_thousands(counted.pairs(bucket)), ")"),
        [&](const RankerResult& result) { return fixed(result.buckets.hit_rate(bucket, cutoff)); }, table);
  }
  return concat("held-out items found in the first ", report.columns.ks()[cutoff],
                ", by how often the item was trained\n", table.text());
}

std::string intervals_table(const EvaluationReport& report) {
  Table table;
  const size_t cutoff = shown_cutoff(report);
  for (const RankerResult& result : report.rankers) {
    if (result.first_minus_this.empty()) continue;
    for (const Metric metric : {Metric::kHitRate, Metric::kNdcg}) {
      const int64_t column = report.columns.column(metric, cutoff);
      const Interval& interval = result.first_minus_this[static_cast<size_t>(column)];
      table.add({concat(report.rankers.front().name, " - ", result.name), report.columns.name(column),
                 with_sign(interval.mean), concat("[", with_sign(interval.low), ", ", with_sign(interval.high), "]")});
    }
  }
  const std::string text = table.text();
  if (text.empty()) return text;
  return concat("differences, with ", report.confidence * 100.0, " % intervals from ", with_thousands(report.resamples),
                " resamples of users\n", text);
}

}  // namespace

std::vector<std::string> to_json_lines(const EvaluationReport& report) {
  std::vector<std::string> lines;
  for (size_t ranker = 0; ranker < report.rankers.size(); ++ranker) lines.push_back(dump(line_json(report, ranker)));
  if (report.hidden) lines.push_back(to_json(*report.hidden));
  return lines;
}

std::string to_json(const EvaluationReport& report) {
  Json all{{"evaluation", Json::array()}};
  for (size_t ranker = 0; ranker < report.rankers.size(); ++ranker) {
    all["evaluation"].push_back(line_json(report, ranker));
  }
  if (report.hidden) all["hidden"] = Json::parse(to_json(*report.hidden));
  return dump(all);
}

std::string to_table(const EvaluationReport& report) {
  std::string text = heading(report);
  const auto ranked = [](const RankerResult& result) { return result.skipped.empty(); };
  if (report.users > 0 && std::ranges::any_of(report.rankers, ranked)) {
    text += metrics_table(report) + buckets_table(report) + intervals_table(report);
  }
  for (const RankerResult& result : report.rankers) {
    if (!ranked(result)) text += concat(result.name, ": skipped, ", result.skipped, "\n");
  }
  if (report.users_without_history > 0) {
    Table table;
    for (const Metric metric : {Metric::kHitRate, Metric::kNdcg}) {
      const auto column = report.columns.column(metric, shown_cutoff(report));
      add_row(
          report, report.columns.name(column),
          [&](const RankerResult& result) {
            return fixed(result.metrics_without_history[static_cast<size_t>(column)]);
          },
          table);
    }
    text += concat(with_thousands(report.users_without_history), " users without a history, not counted above\n",
                   table.text());
  }
  if (report.hidden) text += to_table(*report.hidden);
  return text;
}

}  // namespace rondo
