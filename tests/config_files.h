// These are the configurations in configs/, with small files in place of the user's.
#pragma once

#include "models/huggingface.h"
#include "tests/letters.h"
#include "tests/task_settings.h"
#include "text/vocabulary_training.h"

namespace engine::test {

inline const std::string text_file = "tests/data/walk.txt";

// Calls visit(path) for every configuration in configs/, and returns how many there are.
template <class Visit>
int each_config(const Visit& visit) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("configs"))
    if (entry.path().extension() == ".cfg") visit(entry.path()), ++count;
  return count;
}

// Sets what each configuration needs to be quick and to have its files.
inline void adapt(const std::string& name, TaskSettings& settings) {
  Config& config = settings.config;
  config.training.max_steps = 2;
  config.training.batch_size = 4;
  config.training.eval_every = 0;
  config.training.save_every = 0;
  if (config.task == "gpt" || config.task == "scratchpad") config.generation.max_new_tokens = 8;
  if (config.task == "scratchpad") settings.sections.scratchpad.eval_quantity = 5;
  if (name.starts_with("gpt")) config.data.train = {text_file};
  if (name == "mlm_wiki.cfg") {
    VocabularyTrainer trainer(VocabularyTrainer::Kind::wordpiece, {.vocab_size = 300});
    trainer.add(read_text(text_file));
    config.data.tokenizer = settings.file("vocabulary");
    std::filesystem::create_directories(config.data.tokenizer);
    trainer.train()->save(config.data.tokenizer);
    config.data.train = config.data.eval = {text_file};
  }
  if (name == "gpt2_finetune.cfg") {
    // A small GPT-2 folder stands in for the published one.
    TaskSettings small("task = \"gpt\"\n[data]\ntokenizer = \"characters\"\n[model]\nhidden_size = 16\nnum_layers = 1\n"
                       "num_heads = 2\nmax_positions = 256\n");
    small.config.data.train = {text_file};
    config.init = settings.file("gpt2");
    std::filesystem::create_directories(config.init);
    small.task()->save_model(config.init);
    config.data.block_size = 64;
  }
  if (name == "sst2.cfg" || name == "cola.cfg") {
    config.init = settings.file("encoder");
    write_letters(config.init);
    const auto model = make_model(
        {.architecture = "bert", .hidden_size = 16, .num_layers = 1, .num_heads = 2, .vocab_size = 31});
    model->parameters().allocate(host_memory(), false);
    model->parameters().initialise(1);
    save_model(config.init, *model);
    // The sentences share no word, so that their gradients do not all but cancel.
    config.data.train = {settings.write("train.tsv", name == "cola.cfg"
                                                         ? "s\t1\t\ta b c\ns\t0\t*\td e\ns\t1\t\tf\n"
                                                         : "sentence\tlabel\na b c\t1\nd e\t0\nf\t1\n")};
    config.data.eval = config.data.test = config.data.train;
  }
}

}  // namespace engine::test
