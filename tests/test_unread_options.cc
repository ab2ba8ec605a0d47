// Options that a configuration sets although nothing would read them.
#include <doctest/doctest.h>

#include "tests/letters.h"
#include "tests/task_settings.h"

namespace engine::test::test_unread_options {

namespace {

// Returns the error of making a configuration's task, with a vocabulary and data of its own, or nothing.
std::string error_of(const std::string& text) {
  TaskSettings settings(text);
  Config& config = settings.config;
  if (config.task != "scratchpad") {
    config.data.tokenizer = settings.file("tokenizer");
    write_letters(config.data.tokenizer);
    config.data.train = {config.task == "sst2" ? settings.write("train.tsv", "sentence\tlabel\na b\t1\n")
                                               : settings.write("train.txt", "a b c d\n")};
  }
  try {
    settings.task();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

const std::string small =
    "model.hidden_size = 16\nmodel.num_layers = 1\nmodel.num_heads = 2\nmodel.max_positions = 64\n";

std::string encoder(const std::string& task, const std::string& lines = "", const std::string& architecture = "bert") {
  return "task = \"" + task + "\"\nmodel.architecture = \"" + architecture + "\"\n" + lines + small;
}

}  // namespace

TEST_CASE("unread options: each is an error that says where it is set and what it needs") {
  const std::string decoder = "task = \"scratchpad\"\n", bart = decoder + "model.architecture = \"bart\"\n",
                    lstm = decoder + "model.architecture = \"lstm\"\nmodel.num_layers = 1\n";
  const struct {
    std::string unread, error, read;  // the last: where the same is no error
  } cases[] = {
      {encoder("mlm", "mlm.copies = 3\n"), "task.cfg:3: mlm.copies is 3: nothing reads it here, it needs mlm.masking = "
       "\"static\"", encoder("mlm", "mlm.copies = 3\nmlm.masking = \"static\"\n")},
      {encoder("sst2", "mlm.copies = 3\n"), "it needs task = \"mlm\"", ""},
      {encoder("sst2", "gpt.samples = 3\n"), "it needs task = \"gpt\"", ""},
      {encoder("mlm", "training.initial_learning_rate = 0.1\n"), "it needs training.warmup_steps above 0",
       encoder("mlm", "training.initial_learning_rate = 0.1\ntraining.warmup_steps = 2\n")},
      {encoder("mlm", "model.doubled_position_angles = true\n"), "model.doubled_position_angles is true",
       encoder("mlm", "model.doubled_position_angles = true\n", "sinusoidal_encoder")},
      {lstm + "model.num_heads = 2\n", "it needs another model.architecture than \"lstm\"", lstm},
      {lstm + "model.ffn_size = 64\n", "model.ffn_size is 64: nothing reads it here",
       decoder + "model.ffn_size = 64\n"},
      {lstm + "model.activation = \"gelu\"\n", "task.cfg:4: model.activation is ", ""},
      {lstm + "model.attention_dropout = 0.1\n", "task.cfg:4: model.attention_dropout is ", ""},
      {lstm + "model.layer_norm_epsilon = 1e-6\n", "task.cfg:4: model.layer_norm_epsilon is ", ""},
      {lstm + "model.positions = \"rotary\"\n", "task.cfg:4: model.positions is ", ""},
      {decoder + "model.tied_embeddings = true\n", "it needs model.architecture = \"gpt_neox\" or \"lstm\"",
       lstm + "model.tied_embeddings = true\n"},
      {encoder("mlm", "model.relative_distances = 5\n"), "model.relative_distances is 5", ""},
      {decoder + "model.relative_distances = 5\n" + small, "it needs model.architecture = \"bart\"", ""},
      {bart + "model.relative_distances = 5\n" + small, "it needs model.relative_positions",
       bart + "model.relative_distances = 5\nmodel.relative_positions = \"shared\"\n" + small},
      {encoder("mlm", "training.min_learning_rate = 1e-5\ntraining.scheduler = \"constant\"\n"),
       "it needs a training.scheduler that falls", encoder("mlm", "training.min_learning_rate = 1e-5\n")},
      {encoder("mlm", "training.cycle_steps = 9\n"), "it needs training.scheduler = \"cyclic\"",
       encoder("mlm", "training.cycle_steps = 9\ntraining.scheduler = \"cyclic\"\n")},
      {encoder("mlm", "training.cycle_decay_by = \"step\"\ntraining.scheduler = \"cyclic\"\n"
               "training.cycle_steps = 9\n"), "training.cycle_decay below 1",
       encoder("mlm", "training.cycle_decay_by = \"step\"\ntraining.cycle_steps = 9\n"
       "training.scheduler = \"cyclic\"\ntraining.cycle_decay = 0.9\n")},
      {encoder("mlm", "training.warmup_steps = 9\ntraining.scheduler = \"cyclic\"\ntraining.cycle_steps = 9\n"),
       "it needs a training.scheduler other than \"cyclic\"", encoder("mlm", "training.warmup_steps = 9\n")},
      {encoder("mlm", "training.lookahead_alpha = 0.8\n"), "it needs training.lookahead_every above 0",
       encoder("mlm", "training.lookahead_alpha = 0.8\ntraining.lookahead_every = 5\n")},
      {encoder("mlm", "training.averaging_order = \"swa_first\"\ntraining.lookahead_every = 5\n"),
       "training.swa_start above 0", encoder("mlm", "training.averaging_order = \"swa_first\"\n"
       "training.lookahead_every = 5\ntraining.swa_start = 5\n")},
      {encoder("mlm", "training.evaluate_on = \"weights\"\n"), "it needs training.swa_start or training.lookahead",
       encoder("mlm", "training.evaluate_on = \"weights\"\ntraining.swa_start = 5\n")},
      {encoder("mlm", "training.evaluate_on = \"slow_weights\"\ntraining.swa_start = 5\n"),
       "it needs training.lookahead_every above 0",
       encoder("mlm", "training.evaluate_on = \"slow_weights\"\ntraining.lookahead_every = 5\n")},
      {decoder + "data.block_size = 9\n", "it needs a task that reads files", encoder("mlm", "data.block_size = 9\n")},
      {encoder("mlm", "generation.top_k = 3\n"), "it needs a task whose model writes text", decoder +
       "generation.top_k = 3\ngeneration.temperature = 1\n" + small},
      {decoder + "generation.top_k = 3\n", "generation.top_k is 3: nothing reads it here, it needs "
       "generation.temperature above 0", ""},
      {decoder + "generation.top_p = 0.5\n", "it needs generation.temperature above 0", ""},
      {bart + "generation.num_beams = 3\ngeneration.temperature = 1\n", "it needs generation.temperature = 0",
       bart + "generation.num_beams = 3\n" + small},
      {bart + "generation.length_penalty = 2\n", "it needs generation.num_beams above 1",
       bart + "generation.num_beams = 3\ngeneration.length_penalty = 2\ngeneration.early_stopping = true\n" + small},
      {bart + "generation.early_stopping = true\n", "it needs generation.num_beams above 1", ""},
      {decoder + "generation.num_beams = 3\n" + small, "generation.num_beams is 3: beam search is for encoder-decoders",
       ""},
      {encoder("sst2", "generation.temperature = 0.5\n"), "it needs a task whose model writes text", ""},
      {encoder("sst2", "distillation.temperature = 3\n"), "it needs a model in distillation.teacher", ""},
      {decoder + "distillation.temperature = 3\n", "it needs one of the tasks mlm, cola, sst2 and squad", ""},
      {decoder + "scratchpad.batching = \"topological\"\n", "it needs scratchpad.explanation = \"self_learned\"", ""},
      {decoder + "scratchpad.curriculum_rate = 0.2\nscratchpad.curriculum = \"argmax\"\n",
       "it needs scratchpad.curriculum = \"exp3\"",
       decoder + "scratchpad.curriculum_rate = 0.2\nscratchpad.curriculum = \"exp3\"\n" + small},
      {decoder + "scratchpad.curriculum_decay = 0.5\n", "it needs a scratchpad.curriculum", ""},
      {decoder + "scratchpad.explanation = \"none\"\nscratchpad.form = \"results\"\n", "it needs scratchpad.expl",
       ""},
  };
  for (const auto& [unread, error, read] : cases) {
    CAPTURE(unread);
    CHECK(error_of(unread).find(error) != std::string::npos);
    if (!read.empty()) CHECK(error_of(read) == "");
  }
}

TEST_CASE("unread options: a resolved configuration, which sets all of them, is read again") {
  for (const std::string& text : {encoder("mlm"), encoder("sst2"), "task = \"scratchpad\"\n" + small}) {
    CAPTURE(text);
    TaskSettings settings(text);
    CHECK(error_of(settings.options.toml()) == "");
  }
}

}  // namespace engine::test::test_unread_options
