#pragma once

#include <span>

namespace rondo {

/// A subcommand. `run` gets argv from its own name on and returns the exit code.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

/// All of them, in the order of a first session.
std::span<const Command> commands();

int run_synth(int argc, char** argv);
int run_ingest(int argc, char** argv);
int run_calibrate(int argc, char** argv);
int run_plan(int argc, char** argv);
int run_train(int argc, char** argv);
int run_evaluate(int argc, char** argv);
int run_recommend(int argc, char** argv);
int run_encode(int argc, char** argv);
int run_classify(int argc, char** argv);
int run_import(int argc, char** argv);
int run_export(int argc, char** argv);
int run_inspect(int argc, char** argv);

}  // namespace rondo
