#include "launch/train_monitor.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {
namespace {

/// Adds by place: a step says the same names each time.
void add(const std::vector<NamedValue>& values, std::vector<NamedValue>& sums) {
  if (sums.empty()) {
    sums = values;
    return;
  }
  RONDO_CHECK_EQ(values.size(), sums.size(), "values of a step");
  for (size_t i = 0; i < values.size(); ++i) sums[i].value += values[i].value;
}

}  // namespace

TrainMonitor::TrainMonitor(const JobOptions& job, const RunFolder& run, Communicator& comm)
    : job_(job), run_(run), shows_(comm.rank() == 0) {
  if (shows_) {
    progress_ = std::make_unique<ProgressBar>();
  } else {
    progress_ = std::make_unique<SilentProgress>();
  }
}

void TrainMonitor::begin(const std::string& what, const TrainLoop& loop) {
  if (!shows_) return;
  metrics_.emplace(run_.metrics(), loop.step());
  log_info(fmt::format("{}: {}, {} steps of {} examples", run_.root().string(), what, loop.total_steps(),
                       job_.train.global_batch));
  progress_->begin("train", loop.total_steps(), "steps");
  since_interval_.restart();
}

void TrainMonitor::on_step(const StepReport& report) {
  if (!shows_) return;
  ++interval_steps_;
  interval_examples_ += report.result.examples;
  interval_loss_ += report.result.loss;
  add(report.result.phase_ms, interval_phases_);
  add(report.result.figures, interval_figures_);
  progress_->advance(report.step);
  if (report.step % job_.train.log_steps == 0 || report.step == report.total_steps) write_interval(report);
}

void TrainMonitor::write_interval(const StepReport& report) {
  const double seconds = since_interval_.restart();
  const auto steps = static_cast<double>(interval_steps_);
  const double loss = interval_loss_ / steps;
  const double rate = static_cast<double>(interval_examples_) / seconds;
  nlohmann::json line{{"event", "train"},
                      {"step", report.step},
                      {"epoch", report.epoch},
                      {"loss", loss},
                      {"lr", report.learning_rate_factor},
                      {"examples_per_s", rate}};
  std::string shown;
  for (const NamedValue& phase : interval_phases_) line["phase_ms"][std::string(phase.name)] = phase.value / steps;
  for (const NamedValue& figure : interval_figures_) {
    line[std::string(figure.name)] = figure.value / steps;
    shown += fmt::format(", {} {:.4f}", figure.name, figure.value / steps);
  }
  metrics_->write(line.dump());
  log_info(fmt::format("step {} of {}, epoch {}, loss {:.4f}, {:.0f} examples/s{}", report.step, report.total_steps,
                       report.epoch, loss, rate, shown));
  interval_steps_ = 0;
  interval_examples_ = 0;
  interval_loss_ = 0;
  interval_phases_.clear();
  interval_figures_.clear();
}

void TrainMonitor::on_failed_save(int64_t step, const std::string& why) {
  if (!shows_) return;
  const nlohmann::json line{{"event", "checkpoint_failed"}, {"step", step}, {"why", why}};
  metrics_->write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void TrainMonitor::on_evaluation(const EvaluationOutcome& findings) {
  if (!shows_) return;
  for (const std::string& line : findings.json_lines) metrics_->write(line);
  std::fputs(findings.table.c_str(), stdout);
  std::fflush(stdout);
  since_interval_.restart();
}

void TrainMonitor::end(const TrainOutcome& outcome) {
  if (!shows_) return;
  progress_->advance(outcome.step);
  if (outcome.stopped) log_info(concat("stopped on request after step ", outcome.step, "; --resume goes on"));
  if (outcome.out_of_patience) {
    log_info(concat("validation was best at step ", outcome.best_step, " and has not improved since (train.patience ",
                    job_.train.patience, "): ended at step ", outcome.step));
  }
}

}  // namespace rondo
