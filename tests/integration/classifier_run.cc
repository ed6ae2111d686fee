#include "tests/integration/classifier_run.h"

#include "tests/support/rank_test.h"
#include "tests/support/tiny_texts.h"
#include "trainer/loop/classifier_evaluation.h"
#include "trainer/loop/classifier_task.h"
#include "trainer/storage/file_system.h"

namespace rondo::testing {

ClassifierRunOptions tiny_classifier(at::ScalarType dtype, DenseOptimizerKind optimizer) {
  ClassifierRunOptions options;
  TextClassifierOptions& model = options.classifier.model;
  model.classes = TinyTexts::kClasses;
  model.dropout = 0.2;
  model.dtype = dtype;
  model.tower.vocabulary_size = TinyTexts::kVocabulary;
  model.tower.hidden_size = 16;
  model.tower.num_hidden_layers = 2;
  model.tower.num_attention_heads = 2;
  model.tower.intermediate_size = 32;
  model.tower.max_position_embeddings = 40;
  model.tower.initializer_range = 0.1;
  model.tower.pooling = TextPooling::kPooler;
  options.classifier.class_weights = {1.0, 0.5, 2.0};
  options.train.epochs = 4;
  options.train.global_batch = 10;  // 54 examples train: the last batch of an epoch has 4
  options.train.dense_optimizer = optimizer;
  options.train.adam_w.learning_rate = optimizer == DenseOptimizerKind::kSgd ? 0.1 : 2e-3;
  options.train.schedule.warmup_steps = 3;
  options.train.evaluate_epochs = 1;
  options.train.keep_best = true;
  return options;
}

ClassifierRun run_classifier(Communicator& comm, const ClassifierRunOptions& options) {
  const TinyTexts texts;
  TextClassifier model(options.classifier.model, options.seed);
  ClassifierTask task(options.train, options.classifier, texts.data, model, options.seed, comm);
  TrainLoop loop(options.train, task, comm);
  const auto files = make_posix_file_system();
  std::optional<CheckpointWriter> writer;
  if (!options.folder.empty()) {
    writer.emplace(options.folder, *files, comm, CheckpointWriterOptions{1});
    loop.save_into(&*writer, {{"job.textproto", "name: \"tiny\""}}, "digest");
    if (const auto reader = CheckpointReader::open_latest(options.folder, comm)) loop.resume(*reader);
  }
  ClassifierRun run;
  TrainHooks hooks;
  hooks.on_step = [&](const StepReport& report) {
    run.losses.push_back(report.result.loss);
    run.imbalances.push_back(report.result.figures.at(0).value);
  };
  hooks.stop_requested = [&] { return loop.step() + 1 == options.stop_at; };
  hooks.evaluate = [&](int64_t step) {
    const double found = -evaluate_classifier(model, texts.data, HeldOut::kValid, step, comm).model.log_loss;
    run.scores.push_back(options.scores.empty() ? found : options.scores.at(run.scores.size()));
    return run.scores.back();
  };
  run.outcome = loop.run(hooks);
  for (const auto& entry : task.content().dense) run.dense[entry.name] = entry.value.clone();
  std::vector<std::span<const int32_t>> test;
  for (const int64_t place : texts.data.split.test) test.push_back(texts.data.text(place));
  run.answers = class_probabilities(model, test, comm);
  return run;
}

ClassifierRun run_classifier_alone(const ClassifierRunOptions& options) {
  ClassifierRun run;
  run_ranks(1, test_options(), [&](Communicator& comm) { run = run_classifier(comm, options); });
  return run;
}

}  // namespace rondo::testing
