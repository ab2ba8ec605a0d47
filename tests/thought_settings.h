// A small decoder of characters for tests of the task thought.
#pragma once

#include "tests/task_settings.h"

namespace engine::test {

inline const std::string small_thought = R"(
task = "thought"
[data]
tokenizer = "characters"
[model]
hidden_size = 32
num_layers = 2
num_heads = 2
max_positions = 48
initializer_range = 0.2
[training]
batch_size = 3
max_steps = 4
log_every = 1
eval_every = 2
save_every = 2
scheduler = "constant"
warmup_steps = 1
[generation]
temperature = 1
max_new_tokens = 12
[thought]
context = 32
count = 4
min_piece = 6
)";

inline const std::string walk = "tests/data/walk.txt";

struct ThoughtSettings : TaskSettings {
  explicit ThoughtSettings(const std::string& own = "", const std::string& before = "")
      : TaskSettings(before + small_thought + own) {
    config.data.train = config.data.eval = {walk};
  }
  std::string run(const std::string& part = "") const {
    return (std::filesystem::path(config.output_dir) / config.name / part).string();
  }
};

}  // namespace engine::test
