#include "launch/commands.h"

#include <array>

namespace rondo {

std::span<const Command> commands() {
  static constexpr std::array kCommands{
      Command{"synth", "makes a shop from a seed: catalogue and events", run_synth},
      Command{"ingest", "turns logs and a catalogue, or texts with classes, into a dataset folder", run_ingest},
      Command{"calibrate", "measures these machines for rondo plan", run_calibrate},
      Command{"plan", "places a job's tables on ranks and says what a step will cost", run_plan},
      Command{"train", "trains a job; alone, or one rank a process under mpirun or srun", run_train},
      Command{"evaluate", "evaluates a checkpoint on what was held out, beside the floors", run_evaluate},
      Command{"recommend", "recommends items to a user or to a history", run_recommend},
      Command{"encode", "writes a vector for each text of a file", run_encode},
      Command{"classify", "says of which class texts are, from a checkpoint alone", run_classify},
      Command{"import", "checks a BERT folder of Hugging Face or sentence-transformers", run_import},
      Command{"export", "writes the text tower of a run as a folder that others load", run_export},
      Command{"inspect", "says what is in a dataset or checkpoint folder", run_inspect},
  };
  return kCommands;
}

}  // namespace rondo
