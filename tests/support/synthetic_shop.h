#pragma once

#include "tests/support/rondo_program.h"

namespace rondo::testing {

/// A job that has everything in it (item ids, categories, a text tower with dropout, histories with text), small enough
/// that a step takes milliseconds. No step runs twice alike unless its random numbers do.
inline constexpr char kShopJob[] = R"(name: "shop"
seed: 3
threads: 1
synth { users: 60 items: 80 events: 1000 }
data { dataset: "dataset" history_max: 10 }
tables {
  item { buckets: 64 optimizer { kind: ADAM } }
  category { buckets: 16 }
}
text {
  max_tokens: 16
  hidden_size: 32
  num_hidden_layers: 2
  num_attention_heads: 2
  intermediate_size: 64
  refresh_steps: 7
}
model { dim: 16 id_dropout: 0.3 history_text: true }
train { steps: 6 global_batch: 48 warmup_steps: 10 log_steps: 1 }
evaluation { k: 10 }
)";

/// Makes job.textproto and, with the program, shop/ and dataset/.
inline void make_shop(const RondoFolder& folder) {
  folder.write("job.textproto", kShopJob);
  expect_done(folder.rondo({"synth", "--job", "job.textproto", "--out", "shop"}));
  expect_done(folder.rondo({"ingest", "--job", "job.textproto", "--job", "shop/schema.textproto", "--out", "dataset",
                            "--build-vocabulary", "400"}));
}

}  // namespace rondo::testing
