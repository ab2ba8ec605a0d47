// Small trainings of task blotching.
#pragma once

#include "tasks/blotching/blotching.h"
#include "tests/task_settings.h"

namespace engine::test {

inline const std::string small_blotching = R"(
task = "blotching"
[model]
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 64
initializer_range = 0.2
[training]
batch_size = 16
max_steps = 12
learning_rate = 4e-3
scheduler = "constant"
warmup_steps = 5
adam_beta2 = 0.95
log_every = 3
eval_every = 6
save_every = 6
[blotching]
max_num = 9
max_ents = 3
max_mult_num = 3
seq_len = 48
val_samples = 30
init_samples = 64
max_samples = 96
eval_problems = 12
samples = 1
)";

inline BlotchingConfig own_of(const std::function<void(BlotchingConfig&)>& change = {}) {
  BlotchingConfig config;
  config.init_samples = 10;
  if (change) change(config);
  return config;
}

inline std::vector<double> in_double(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace engine::test
