#include "launch/train_monitor.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/log.h"
#include "trainer/telemetry/progress_bar.h"

namespace rondo {

TrainMonitor::TrainMonitor(const JobOptions& job, const RunFolder& run, Communicator& comm)
    : job_(job), run_(run), shows_(comm.rank() == 0) {
  if (shows_) {
    progress_ = std::make_unique<ProgressBar>();
  } else {
    progress_ = std::make_unique<SilentProgress>();
  }
}

void TrainMonitor::begin(const RecommenderData& data, const Recommender& recommender, const TrainLoop& loop) {
  if (!shows_) return;
  metrics_.emplace(run_.metrics(), loop.step());
  int64_t parameters = 0;
  for (const auto& parameter : recommender.model.parameters()) parameters += parameter.value.numel();
  log_info(fmt::format("{}: {} users, {} items, {} events, {} tables, {} dense parameters, {} steps of {} examples",
                       run_.root().string(), data.events.users(), data.catalog.items(), data.events.events(),
                       recommender.model.tables().size(), parameters, loop.total_steps(), job_.train.global_batch));
  progress_->begin("train", loop.total_steps(), "steps");
  since_interval_.restart();
}

void TrainMonitor::on_step(const StepReport& report) {
  if (!shows_) return;
  ++interval_steps_;
  interval_examples_ += report.examples;
  interval_loss_ += report.result.loss;
  interval_times_.route += report.result.times.route;
  interval_times_.rows += report.result.times.rows;
  interval_times_.forward += report.result.times.forward;
  interval_times_.backward += report.result.times.backward;
  interval_times_.update += report.result.times.update;
  progress_->advance(report.step);
  if (report.step % job_.train.log_steps == 0 || report.step == report.total_steps) write_interval(report);
}

void TrainMonitor::write_interval(const StepReport& report) {
  const double seconds = since_interval_.restart();
  const auto steps = static_cast<double>(interval_steps_);
  const double loss = interval_loss_ / steps;
  const double rate = static_cast<double>(interval_examples_) / seconds;
  const nlohmann::json line{{"event", "train"},
                            {"step", report.step},
                            {"epoch", report.epoch},
                            {"loss", loss},
                            {"lr", report.learning_rate_factor},
                            {"examples_per_s", rate},
                            {"phase_ms",
                             {{"route", interval_times_.route / steps},
                              {"rows", interval_times_.rows / steps},
                              {"forward", interval_times_.forward / steps},
                              {"backward", interval_times_.backward / steps},
                              {"update", interval_times_.update / steps}}}};
  metrics_->write(line.dump());
  log_info(fmt::format("step {} of {}, epoch {}, loss {:.4f}, {:.0f} examples/s", report.step, report.total_steps,
                       report.epoch, loss, rate));
  interval_steps_ = 0;
  interval_examples_ = 0;
  interval_loss_ = 0;
  interval_times_ = {};
}

void TrainMonitor::on_failed_save(int64_t step, const std::string& why) {
  if (!shows_) return;
  const nlohmann::json line{{"event", "checkpoint_failed"}, {"step", step}, {"why", why}};
  metrics_->write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void TrainMonitor::on_evaluation(const EvaluationReport& report) {
  if (!shows_) return;
  for (const std::string& line : to_json_lines(report)) metrics_->write(line);
  std::fputs(to_table(report).c_str(), stdout);
  std::fflush(stdout);
  since_interval_.restart();
}

void TrainMonitor::end(const TrainOutcome& outcome) {
  if (!shows_) return;
  progress_->advance(outcome.step);
  if (outcome.stopped) log_info(concat("stopped on request after step ", outcome.step, "; --resume goes on"));
}

}  // namespace rondo
