// These are the configurations in configs/ and on the pages, with small files in place of the user's.
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

// Makes a folder with a small BERT for a vocabulary that is there already.
inline void save_small_bert(const std::filesystem::path& folder, int32_t vocab_size) {
  const auto model = make_model(
      {.architecture = "bert", .hidden_size = 16, .num_layers = 1, .num_heads = 2, .vocab_size = vocab_size});
  model->parameters().allocate(host_memory(), false);
  model->parameters().initialise(1);
  save_model(folder, *model);
}

inline void adapt_gpt(TaskSettings& settings) {
  Config& config = settings.config;
  config.data.train = {text_file};
  if (!config.data.eval.empty()) config.data.eval = {text_file};
  if (config.init.empty()) return;
  // A small GPT-2 folder stands in for the published one.
  TaskSettings small("task = \"gpt\"\n[data]\ntokenizer = \"characters\"\n[model]\nhidden_size = 16\nnum_layers = 1\n"
                     "num_heads = 2\nmax_positions = 256\n");
  small.config.data.train = {text_file};
  config.init = settings.file("gpt2");
  std::filesystem::create_directories(config.init);
  small.task()->save_model(config.init);
  config.data.block_size = 64;
}

inline void adapt_mlm(TaskSettings& settings) {
  Config& config = settings.config;
  VocabularyTrainer trainer(VocabularyTrainer::Kind::wordpiece, {.vocab_size = 300});
  trainer.add(read_text(text_file));
  const std::string folder = settings.file("vocabulary");
  std::filesystem::create_directories(folder);
  const auto tokenizer = trainer.train();
  tokenizer->save(folder);
  if (config.init.empty()) {
    config.data.tokenizer = folder;
  } else {
    config.init = folder;
    save_small_bert(folder, tokenizer->vocab_size());
    config.data.block_size = 64;
  }
  config.data.train = config.data.eval = {text_file};
}

inline void adapt_classification(TaskSettings& settings) {
  Config& config = settings.config;
  config.init = settings.file("encoder");
  write_letters(config.init);
  save_small_bert(config.init, 31);
  // The sentences share no word, so that their gradients do not all but cancel.
  config.data.train = {settings.write("train.tsv", config.task == "cola" ? "s\t1\t\ta b c\ns\t0\t*\td e\ns\t1\t\tf\n"
                                                                        : "sentence\tlabel\na b c\t1\nd e\t0\nf\t1\n")};
  config.data.eval = config.data.test = config.data.train;
}

inline void adapt_squad(TaskSettings& settings) {
  Config& config = settings.config;
  if (config.init.empty()) return;  // its files are here
  config.init = settings.file("encoder");
  write_letters(config.init);
  save_small_bert(config.init, 31);
  config.data.train = {settings.write(
      "train.json", "{\"data\": [{\"paragraphs\": [{\"context\": \"a b c\", \"qas\": ["
                    "{\"id\": \"1\", \"question\": \"d\", \"answers\": [{\"text\": \"b\", \"answer_start\": 2}]}, "
                    "{\"id\": \"2\", \"question\": \"e\", "
                    "\"answers\": [{\"text\": \"c\", \"answer_start\": 4}]}]}]}]}")};
  config.data.eval = config.data.test = config.data.train;
}

inline void adapt_thought(TaskSettings& settings) {
  Config& config = settings.config;
  ThoughtConfig& own = settings.sections.thought;
  if (!own.is_text()) {
    own.eval_problems = 4;
    return;
  }
  config.data.train = config.data.eval = {text_file};
  own.context = 32;
  own.count = 4;
}

// Sets what each configuration needs to be quick and to have its files.
inline void adapt(TaskSettings& settings) {
  Config& config = settings.config;
  config.training.max_steps = 2;
  config.training.batch_size = 4;
  config.training.eval_every = 0;
  config.training.save_every = 0;
  if (config.task == "gpt" || config.task == "scratchpad" || config.task == "thought")
    config.generation.max_new_tokens = 8;
  if (config.task == "scratchpad") settings.sections.scratchpad.eval_quantity = 5;
  if (config.task == "blotching") settings.sections.blotching.eval_problems = 5;
  if (config.task == "gpt") adapt_gpt(settings);
  if (config.task == "mlm") adapt_mlm(settings);
  if (config.task == "cola" || config.task == "sst2") adapt_classification(settings);
  if (config.task == "squad") adapt_squad(settings);
  if (config.task == "thought") adapt_thought(settings);
}

}  // namespace engine::test
