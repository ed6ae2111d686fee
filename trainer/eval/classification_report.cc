#include "trainer/eval/classification_report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/number_text.h"

namespace rondo {
namespace {

using Json = nlohmann::ordered_json;

/// Above this many classes a matrix tells a person nothing.
constexpr size_t kMostShownClasses = 12;
constexpr size_t kLongestName = 24;

Json metrics_json(const ClassMetrics& metrics) {
  Json json;
  for (const auto& [name, value] : named_metrics(metrics)) json[std::string(name)] = value;
  json["log_loss"] = metrics.log_loss;
  return json;
}

Json confusion_json(const ClassificationReport& report) {
  const auto classes = static_cast<std::ptrdiff_t>(report.label_names.size());
  Json rows = Json::array();
  for (auto row = report.model.confusion.begin(); row != report.model.confusion.end(); row += classes) {
    rows.push_back(std::vector<int64_t>(row, row + classes));
  }
  return rows;
}

std::string line(const std::string& name, const std::string& first, const std::string& second) {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), "  %-20s %10s %10s\n", name.c_str(), first.c_str(), second.c_str());
  return text.data();
}

std::string fixed(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4f", value);
  return text.data();
}

std::string metrics_table(const ClassificationReport& report) {
  std::string text = line("", "rondo", "majority");
  const auto model = named_metrics(report.model), floor = named_metrics(report.majority);
  for (size_t i = 0; i < model.size(); ++i) {
    text += line(std::string(model[i].first), fixed(model[i].second), fixed(floor[i].second));
  }
  return text + line("log_loss", fixed(report.model.log_loss), "-");
}

/// Cut at a character.
std::string short_name(const std::string& name) {
  if (name.size() <= kLongestName) return name;
  size_t end = kLongestName;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
  return name.substr(0, end);
}

std::string confusion_table(const ClassificationReport& report) {
  const size_t classes = report.label_names.size();
  if (classes > kMostShownClasses) return "";
  std::string text = "rows: the class; columns, in the same order: what was said\n";
  for (size_t row = 0; row < classes; ++row) {
    std::string cells;
    for (size_t column = 0; column < classes; ++column) {
      const std::string count = with_thousands(report.model.confusion[row * classes + column]);
      cells += std::string(count.size() < 10 ? 10 - count.size() : 1, ' ') + count;
    }
    const std::string name = short_name(report.label_names[row]);
    text += "  " + name + std::string(kLongestName + 1 - name.size(), ' ') + cells + "\n";
  }
  return text;
}

}  // namespace

std::string to_json(const ClassificationReport& report) {
  Json json{{"event", "eval"}};
  if (report.step >= 0) json["step"] = report.step;
  json.update({{"split", report.held_out},
               {"model", "rondo"},
               {"examples", report.examples},
               {"labels", report.label_names},
               {"metrics", metrics_json(report.model)},
               {"confusion", confusion_json(report)},
               {"floors", {{"majority", metrics_json(report.majority)}}},
               {"seconds", report.seconds}});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string to_table(const ClassificationReport& report) {
  std::string text = concat(report.held_out, ": ", with_thousands(report.examples), " examples, ",
                            report.label_names.size(), " classes");
  if (report.step >= 0) text += concat(", weights of step ", report.step);
  return text + "\n" + metrics_table(report) + confusion_table(report);
}

}  // namespace rondo
