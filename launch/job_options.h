#pragma once

#include <boost/program_options/variables_map.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/device_choice.h"
#include "launch/job_text.h"
#include "sharding/comm/communicator.h"
#include "sharding/plan/planner.h"
#include "trainer/data/examples.h"
#include "trainer/data/schema.h"
#include "trainer/data/split.h"
#include "trainer/data/synth.h"
#include "trainer/eval/evaluation.h"
#include "trainer/loop/recommender_data.h"
#include "trainer/loop/train_options.h"
#include "trainer/model/model_options.h"

namespace rondo {

/// Weight of a behaviour by its name in the dataset.
struct NamedWeight {
  std::string behaviour;
  double weight = 1.0;
};

/// A job as typed, validated options: what everything below launch/ is given.
struct JobOptions {
  std::string name;
  uint64_t seed = 1;
  int threads = 0;  // 0: cores of the host / its ranks
  DeviceWish device = DeviceWish::kAuto;
  DataOptions data;
  ExampleOptions examples;
  ModelOptions model;                  // text.vocabulary_size and behaviour_weights come from the dataset
  std::filesystem::path text_weights;  // folder that the text tower starts from; empty: at random
  std::vector<NamedWeight> behaviour_weights;
  TrainOptions train;
  EvaluationOptions evaluation;
  CommunicatorOptions communication;
  SynthOptions synth;
  SchemaOptions schema;
  bool has_schema = false;
  bool places_items = false;  // tables.item.placement is AUTO; kRowWise above until a plan says better
  bool places_categories = false;
  std::string profile;                       // of plans
  std::vector<TableRequest> planned_tables;  // what `rondo plan` places instead of the model's tables
  SplitOptions split;                        // defaults where the job says none: for ingest
  std::string text;                          // the job written out: runs again as it is
  std::string digest;                        // of what a resumed run must share with the one before it
};

/// Translates and validates. Throws ConfigError with the place where the wrong field was said.
JobOptions to_options(const JobText& job);

/// The job that a command line names (add_job_options).
JobOptions job_of(const boost::program_options::variables_map& values);

/// The job of --job and --set; without either, that of all defaults.
JobOptions load_job(const std::vector<std::string>& files, const std::vector<std::string>& assignments);

}  // namespace rondo
