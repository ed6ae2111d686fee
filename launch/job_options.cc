#include "launch/job_options.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <string_view>
#include <utility>

#include "launch/command_line.h"
#include "launch/text_weights.h"
#include "proto/job.pb.h"
#include "sharding/base/check.h"
#include "sharding/base/nearest_name.h"
#include "trainer/data/schema_proto.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

/// More than any host has cores; OpenMP gives up far above it.
constexpr int kMostThreads = 1024;

RowOptimizerOptions to_row_optimizer(const proto::RowOptimizer& from) {
  RowOptimizerOptions to;
  switch (from.kind()) {
    case proto::SGD:
      to.kind = RowOptimizerKind::kSgd;
      break;
    case proto::ROW_WISE_ADAGRAD:
      to.kind = RowOptimizerKind::kRowWiseAdagrad;
      break;
    case proto::ADAM:
      to.kind = RowOptimizerKind::kAdam;
      break;
    case proto::ADAGRAD:
      to.kind = RowOptimizerKind::kAdagrad;
      break;
    case proto::ROW_WISE_ADAM:
      to.kind = RowOptimizerKind::kRowWiseAdam;
      break;
  }
  to.learning_rate = from.learning_rate();
  to.epsilon = from.epsilon();
  to.beta1 = from.beta1();
  to.beta2 = from.beta2();
  to.weight_decay = from.weight_decay();
  to.clip_norm = from.clip_norm();
  to.check_finite = from.check_finite();
  return to;
}

Placement to_placement(proto::Placement from) {
  switch (from) {
    case proto::ROW_WISE:
      return Placement::kRowWise;
    case proto::REPLICATED:
      return Placement::kReplicated;
    case proto::TABLE_WISE:
      return Placement::kTableWise;
    case proto::COLUMN_WISE:
      return Placement::kColumnWise;
    case proto::AUTO:
      return Placement::kRowWise;  // until the plan says better
  }
  throw InternalError(concat("placement ", static_cast<int>(from), " is not known"));
}

RowType to_row_type(proto::NumberType from) {
  if (from == proto::FP32) return RowType::kFloat32;
  return from == proto::FP16 ? RowType::kFloat16 : RowType::kBFloat16;
}

WireCodec to_codec(proto::NumberType from) {
  if (from == proto::FP32) return WireCodec::kNone;
  return from == proto::FP16 ? WireCodec::kFloat16 : WireCodec::kBFloat16;
}

/// Name and width are the model's to say.
TableSpec to_table(const proto::Table& from, const std::string& name) {
  TableSpec to;
  to.name = name;
  to.placement = to_placement(from.placement());
  to.owner = from.owner();
  to.column_shards = from.column_shards();
  to.rows = from.rows();
  to.buckets = from.buckets();
  to.initial_scale = from.initial_scale();
  to.count_decay = from.count_decay();
  to.optimizer = to_row_optimizer(from.optimizer());
  to.row_type = to_row_type(from.row_type());
  to.row_codec = to_codec(from.row_codec());
  to.gradient_codec = to_codec(from.gradient_codec());
  return to;
}

std::vector<TableRequest> to_planned_tables(const proto::Plan& from) {
  std::vector<TableRequest> to;
  for (const proto::PlannedTable& table : from.table()) {
    for (int i = 0; i < table.count(); ++i) {
      TableRequest request;
      request.spec = to_table(table.table(), table.count() == 1 ? table.name() : concat(table.name(), i));
      request.spec.rows = table.rows();
      request.spec.dim = table.dim();
      request.statistics = {table.ids_per_example(), table.bags_per_example(), table.skew(), {}};
      request.pooled = table.pooled();
      const bool fixed = table.table().has_placement() && table.table().placement() != proto::AUTO;
      if (fixed) request.allowed = {request.spec.placement};
      if (table.has_way_home()) request.way_home = table.way_home() == proto::SUMS ? WayHome::kSums : WayHome::kRows;
      if (table.has_hot_rows()) request.hot_rows = table.hot_rows();
      to.push_back(std::move(request));
    }
  }
  return to;
}

TextPooling to_pooling(proto::TextPooling from) {
  switch (from) {
    case proto::MEAN:
      return TextPooling::kMean;
    case proto::CLS:
      return TextPooling::kCls;
    case proto::MAX:
      return TextPooling::kMax;
    case proto::POOLER:
      return TextPooling::kPooler;
  }
  throw InternalError(concat("pooling ", static_cast<int>(from), " is not known"));
}

TextTowerOptions to_text_tower(const proto::Text& from) {
  TextTowerOptions to;
  to.vocabulary_size = from.vocab_size();
  to.type_vocab_size = from.type_vocab_size();
  to.layer_norm_eps = from.layer_norm_eps();
  to.hidden_size = from.hidden_size();
  to.num_hidden_layers = from.num_hidden_layers();
  to.num_attention_heads = from.num_attention_heads();
  to.intermediate_size = from.intermediate_size();
  to.max_position_embeddings = from.max_position_embeddings();
  to.hidden_dropout_prob = from.hidden_dropout_prob();
  to.attention_probs_dropout_prob = from.attention_probs_dropout_prob();
  to.pooling = to_pooling(from.pooling());
  to.precision = from.products() == proto::PRODUCTS_BF16 ? ProductPrecision::kBFloat16 : ProductPrecision::kFloat32;
  return to;
}

UserVectorOptions to_user_vector(const proto::Model& from) {
  UserVectorOptions to;
  switch (from.history_weight()) {
    case proto::HISTORY_MEAN:
      to.weight = HistoryWeight::kMean;
      break;
    case proto::TIME_DECAY:
      to.weight = HistoryWeight::kTimeDecay;
      break;
    case proto::POSITION_DECAY:
      to.weight = HistoryWeight::kPositionDecay;
      break;
  }
  to.half_life_days = from.half_life_days();
  to.half_life_events = from.half_life_events();
  to.history_text = from.history_text();
  return to;
}

ModelOptions to_model(const proto::Job& job) {
  const proto::Model& from = job.model();
  ModelOptions to;
  to.dim = from.dim();
  to.item = {from.id_beta(), from.category_beta(), from.text_beta(), job.text().normalize(), from.id_dropout()};
  to.user = to_user_vector(from);
  to.interaction = {from.interaction() == proto::COSINE ? InteractionKind::kCosine : InteractionKind::kDot,
                    from.temperature()};
  to.loss = {job.loss().logq(), job.loss().minimum_probability(), job.loss().mask_duplicates(),
             job.loss().mask_positives()};
  to.text = to_text_tower(job.text());
  to.max_tokens = job.text().max_tokens();
  to.text_refresh_steps = job.text().refresh_steps();
  to.frozen_text = job.text().frozen();
  to.item_table = to_table(job.tables().item(), "item");
  to.bag_table = to_table(job.tables().category(), "category");
  to.embedding.clip_norm = job.tables().clip_norm();
  to.dtype = job.precision() == proto::FLOAT64 ? at::kDouble : at::kFloat;
  return to;
}

TaskKind task_of(const proto::Job& job) {
  const bool classifies = job.task_size() > 0 && job.task(0).kind() == proto::TEXT_CLASSIFICATION;
  return classifies ? TaskKind::kTextClassification : TaskKind::kRetrieval;
}

DataOptions to_data(const proto::Job& job, const SplitOptions& split) {
  DataOptions to;
  to.dataset = job.data().dataset();
  if (job.has_split()) to.split = split;
  to.hidden_items = {job.data().hidden_items().fraction(), job.data().hidden_items().seed()};
  to.vocabulary = job.text().vocabulary();
  to.lowercase = job.text().lowercase();
  to.needs_text = task_of(job) == TaskKind::kTextClassification || job.model().text_beta() > 0.0;
  to.max_tokens = job.text().max_tokens();
  return to;
}

ClassificationOptions to_classification(const proto::Job& job) {
  const proto::Classification from = job.task_size() > 0 ? job.task(0).classification() : proto::Classification();
  ClassificationOptions to;
  to.classifier.model.tower = to_text_tower(job.text());
  to.classifier.model.dropout = from.dropout();
  to.classifier.model.dtype = job.precision() == proto::FLOAT64 ? at::kDouble : at::kFloat;
  to.classifier.dispatch = from.dispatch() == proto::BALANCED ? TextDispatch::kBalanced : TextDispatch::kLocal;
  for (const auto& entry : from.class_weight()) to.class_weights.push_back({entry.label(), entry.weight()});
  to.balance_classes = from.balance_classes();
  to.select_by = from.select_by();
  return to;
}

EvaluationOptions to_evaluation(const proto::Job& job) {
  EvaluationOptions to;
  if (job.evaluation().k_size() > 0) to.k.assign(job.evaluation().k().begin(), job.evaluation().k().end());
  to.max_users = job.evaluation().max_users();
  to.seed = job.seed();
  to.floors = job.evaluation().floors();
  to.item_knn.max_items = job.evaluation().item_knn_max_items();
  return to;
}

/// What a resumed run must share with the one before it: everything but how long it trains and what is shown.
std::string model_digest(proto::Job job) {
  job.clear_name();
  job.clear_threads();
  job.clear_synth();
  job.clear_schema();
  job.clear_train();
  job.clear_evaluation();
  job.clear_communication();
  job.clear_exchange();
  job.clear_gradients();
  job.clear_device();
  job.clear_plan();
  std::string text;
  google::protobuf::TextFormat::PrintToString(job, &text);
  return sha256_hex(text);
}

TrainOptions to_train(const proto::Train& from, TaskKind task) {
  TrainOptions to;
  to.steps = from.steps();
  to.epochs = from.epochs();
  to.global_batch = from.global_batch();
  to.schedule.shape = from.schedule() == proto::LINEAR ? ScheduleShape::kLinear : ScheduleShape::kConstant;
  to.schedule.warmup_steps = from.warmup_steps();
  const proto::DenseOptimizer& dense = from.optimizer();
  to.dense_optimizer = dense.kind() == proto::ADAMW ? DenseOptimizerKind::kAdamW : DenseOptimizerKind::kSgd;
  to.adam_w = {dense.learning_rate(), dense.beta1(), dense.beta2(), dense.epsilon(), dense.weight_decay()};
  to.clip_norm = from.clip_norm();
  to.log_steps = from.log_steps();
  to.checkpoint_steps = from.checkpoint_steps();
  to.keep_checkpoints = from.keep_checkpoints();
  to.evaluate_steps = from.evaluate_steps();
  to.evaluate_epochs = from.evaluate_epochs();
  to.keep_best = from.keep_best() && task == TaskKind::kTextClassification;
  to.patience = from.patience();
  return to;
}

CommunicatorOptions to_communication(const proto::Communication& from) {
  using std::chrono::seconds;
  return {.start_deadline = seconds(from.start_deadline_s()),
          .step_deadline = seconds(from.step_deadline_s()),
          .evaluation_deadline = seconds(from.evaluation_deadline_s()),
          .checkpoint_deadline = seconds(from.checkpoint_deadline_s()),
          .share_memory = from.share_memory()};
}

void require_name(const std::string& name) {
  static const std::regex kName("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");
  if (!std::regex_match(name, kName)) {
    throw ConfigError(
        "name must be letters, digits, '.', '-' and '_', begin with a letter or digit, and have at most 64, got \"" +
        name + "\"");
  }
}

/// Where options call something otherwise than the job: how a message about it begins, and how the job says it.
constexpr std::pair<std::string_view, std::string_view> kWordsOfTheJob[] = {
    {"tables.item.table \"item\": ", "tables.item."},
    {"tables.category.table \"category\": ", "tables.category."},
    {"text.text tower: ", "text."},
    {"task.classification.text tower: ", "text."},
    {"model.bag_beta ", "model.category_beta "},
    {"model.max_tokens ", "text.max_tokens "},
    {"model.refresh_steps ", "text.refresh_steps "},
    {"model.minimum_probability ", "loss.minimum_probability "},
    {"train.schedule: ", "train."},
    {"train.optimizer.adam_w: eps ", "train.optimizer.epsilon "},
    {"train.optimizer.adam_w: ", "train.optimizer."},
    {"communication.communicator.start_deadline ", "communication.start_deadline_s "},
    {"communication.communicator.step_deadline ", "communication.step_deadline_s "},
    {"communication.communicator.evaluation_deadline ", "communication.evaluation_deadline_s "},
    {"communication.communicator.checkpoint_deadline ", "communication.checkpoint_deadline_s "},
};

/// JobText::located, in the words of the job.
void check(const JobText& job, const std::string& section, const std::function<void()>& validation) {
  job.located("", [&] {
    try {
      validation();
    } catch (const ConfigError& error) {
      std::string message = error.what();
      if (!section.empty() && !message.starts_with(section + ".")) message = section + "." + message;
      for (const auto& [theirs, ours] : kWordsOfTheJob) {
        if (message.starts_with(theirs)) message = concat(ours, message.substr(theirs.size()));
      }
      throw ConfigError(message, error.exit_code());
    }
  });
}

void require_threads(int threads) {
  if (threads >= 0 && threads <= kMostThreads) return;
  throw ConfigError(concat("threads must be from 0 to ", kMostThreads, ", got ", threads));
}

void require_weights(const std::vector<NamedWeight>& weights, const char* field) {
  for (const auto& [name, weight] : weights) {
    if (weight >= 0.0 && std::isfinite(weight)) continue;
    throw ConfigError(concat(field, ".weight must be 0 or more, got ", weight, " for \"", name, "\""));
  }
}

void require_one_task(const proto::Job& job) {
  if (job.task_size() > 1) throw ConfigError(concat("task: at most one as yet, got ", job.task_size()));
}

void require_items_to_hide(const JobOptions& options) {
  if (options.task == TaskKind::kRetrieval || options.data.hidden_items.fraction == 0.0) return;
  throw ConfigError("hidden_items are for a recommender: a text classification has no items");
}

void require_patience_for(const JobOptions& options) {
  if (options.train.patience == 0) return;
  if (options.task == TaskKind::kRetrieval) throw ConfigError("patience is for text classification");
  if (!options.train.keep_best) throw ConfigError("patience needs keep_best: it counts from the best evaluation");
}

void validate_classification(const ClassificationOptions& options) {
  TextClassifierOptions model = options.classifier.model;
  model.classes = 2;
  validate(model);
  require_weights(options.class_weights, "class_weight");
  const std::vector<std::string> metrics{"accuracy", "balanced_accuracy", "macro_f1", "auc"};
  if (std::ranges::find(metrics, options.select_by) != metrics.end()) return;
  throw ConfigError(concat("select_by must be accuracy, balanced_accuracy, macro_f1 or auc, got \"", options.select_by,
                           "\"", did_you_mean(options.select_by, metrics)));
}

/// All but the size of the vocabulary, which the dataset knows.
void validate_text_tower(const ModelOptions& model) {
  if (model.item.text_beta == 0.0) return;
  TextTowerOptions tower = model.text;
  tower.vocabulary_size = std::max<int64_t>(1, tower.vocabulary_size);
  validate(tower);
}

void require_frozen_text_to_say_something(const JobOptions& options) {
  if (!options.model.frozen_text) return;
  if (options.task != TaskKind::kRetrieval) throw ConfigError("frozen is for the texts of items, not for classes");
  if (options.model.item.text_beta == 0.0) throw ConfigError("frozen needs model.text_beta above 0: no text is read");
  if (options.text_weights.empty()) {
    throw ConfigError("frozen needs text.weights: a text encoder that starts at random and never learns says nothing");
  }
}

void validate_all(const JobText& job, const JobOptions& options) {
  check(job, "", [&] { require_name(options.name); });
  check(job, "", [&] { require_threads(options.threads); });
  check(job, "split", [&] { validate(options.split); });
  check(job, "data", [&] { validate(options.examples); });
  check(job, "data.hidden_items", [&] { validate(options.data.hidden_items); });
  check(job, "tables.item", [&] { validate(options.model.item_table); });
  check(job, "tables.category", [&] { validate(options.model.bag_table); });
  check(job, "tables", [&] { validate(options.model.embedding); });
  check(job, "text", [&] { validate_text_tower(options.model); });
  check(job, "text", [&] { require_frozen_text_to_say_something(options); });
  check(job, "model", [&] { validate(options.model); });
  check(job, "model", [&] { require_weights(options.behaviour_weights, "behaviour_weight"); });
  check(job, "", [&] { require_one_task(job.job()); });
  if (options.task == TaskKind::kTextClassification) {
    check(job, "task.classification", [&] { validate_classification(options.classification); });
  }
  check(job, "data", [&] { require_items_to_hide(options); });
  check(job, "train", [&] { require_patience_for(options); });
  check(job, "train.optimizer", [&] { validate(options.train.adam_w); });
  check(job, "train", [&] { validate(options.train); });
  check(job, "evaluation", [&] { validate(options.evaluation); });
  if (options.has_schema) check(job, "schema", [&] { validate(options.schema); });
  check(job, "communication", [&] { validate(options.communication); });
  check(job, "synth", [&] { validate(options.synth); });
  check(job, "plan", [&] {
    for (const TableRequest& table : options.planned_tables) {
      validate(table);
    }
  });
}

}  // namespace

JobOptions to_options(const JobText& text) {
  const proto::Job& job = text.job();
  JobOptions to;
  to.name = job.name();
  to.seed = job.seed();
  to.threads = job.threads();
  to.task = task_of(job);
  to.classification = to_classification(job);
  to.split = split_from_proto(job.split());
  to.data = to_data(job, to.split);
  to.examples = {job.data().history_max(), job.data().history_same_time(), job.data().last_only()};
  to.model = to_model(job);
  for (const auto& entry : job.model().behaviour_weight()) {
    to.behaviour_weights.push_back({entry.behaviour(), entry.weight()});
  }
  to.text_weights = job.text().weights();
  to.device = job.device() == proto::Job::CUDA  ? DeviceWish::kCuda
              : job.device() == proto::Job::CPU ? DeviceWish::kCpu
                                                : DeviceWish::kAuto;
  to.train = to_train(job.train(), to.task);
  to.train.overlap_exchange = job.exchange().overlap();
  to.train.gradients.overlap = job.gradients().overlap();
  to.evaluation = to_evaluation(job);
  to.synth = {job.synth().users(), job.synth().items(), job.synth().events(), job.seed()};
  to.has_schema = job.has_schema();
  text.located("schema", [&] { to.schema = schema_from_proto(job.schema()); });
  to.communication = to_communication(job.communication());
  to.planned_tables = to_planned_tables(job.plan());
  to.profile = job.plan().profile();
  to.places_items = job.tables().item().placement() == proto::AUTO;
  to.places_categories = job.tables().category().placement() == proto::AUTO;
  to.text = text.written_out();
  proto::Job whole;
  RONDO_CHECK(google::protobuf::TextFormat::ParseFromString(to.text, &whole), "written-out job");
  to.digest = model_digest(whole);
  validate_all(text, to);
  return to;
}

JobOptions load_job(const std::vector<std::string>& files, const std::vector<std::string>& assignments) {
  JobText job;
  for (const std::string& file : files) job.add_file(file);
  for (const std::string& assignment : assignments) job.assign(assignment);
  adopt_text_weights(job);
  return to_options(job);
}

JobOptions job_of(const boost::program_options::variables_map& values) {
  return load_job(named_files(values), assignments(values));
}

}  // namespace rondo
