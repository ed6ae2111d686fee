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
#include "trainer/loop/classifier.h"
#include "trainer/loop/dataset_tokens.h"
#include "trainer/loop/train_options.h"
#include "trainer/model/model_options.h"

namespace rondo {

/// Weight of a behaviour or a class by its name in the dataset.
struct NamedWeight {
  std::string name;
  double weight = 1.0;
};

enum class TaskKind : uint8_t { kRetrieval, kTextClassification };

/// How a text classifier learns and is judged.
struct ClassificationOptions {
  ClassifierOptions classifier;  // vocabulary, classes and their weights come from the dataset, and of these:
  std::vector<NamedWeight> class_weights;
  bool balance_classes = false;
  std::string select_by = "accuracy";
};

/// A job as typed, validated options: what everything below launch/ is given.
struct JobOptions {
  std::string name;
  uint64_t seed = 1;
  int threads = 0;  // 0: cores of the host / its ranks
  DeviceWish device = DeviceWish::kAuto;
  TaskKind task = TaskKind::kRetrieval;
  ClassificationOptions classification;
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
