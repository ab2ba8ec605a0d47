// Every configuration in configs/ runs a few steps as it stands, but for the files that the user brings.
#include <doctest/doctest.h>

#include <cmath>

#include "models/huggingface.h"
#include "tasks/language_model.h"
#include "tests/letters.h"
#include "tests/task_settings.h"
#include "text/vocabulary_training.h"

namespace engine::test {

namespace {

const std::string text_file = "tests/data/walk.txt";

// What each configuration needs besides, to be quick and to have its files.
void adapt(const std::string& name, TaskSettings& settings) {
  Config& config = settings.config;
  config.training.max_steps = 2;
  config.training.batch_size = 4;
  config.training.eval_every = 0;
  config.training.save_every = 0;
  config.generation.max_new_tokens = 8;
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
    // A small GPT-2 folder in the place of the published one.
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
    const auto model = make_encoder_model(
        {.architecture = "bert", .hidden_size = 16, .num_layers = 1, .num_heads = 2, .vocab_size = 31});
    model->parameters().allocate(host_memory(), false);
    model->parameters().initialise(1);
    save_model(config.init, *model);
    config.data.train = {settings.write("train.tsv", name == "cola.cfg" ? "s\t1\t\ta b\ns\t0\t*\tb a\n"
                                                                        : "sentence\tlabel\na b\t1\nb a\t0\n")};
    config.data.eval = config.data.test = config.data.train;
  }
}

}  // namespace

TEST_CASE("configs: each runs a few steps, saves a model and is evaluated") {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("configs")) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".cfg") continue;
    CAPTURE(name);
    ++count;
    TaskSettings settings(read_text(entry.path()));
    CHECK(settings.config.name != "run");  // every configuration names its run
    adapt(name, settings);
    const auto task = settings.task();
    CHECK(train_task(settings.config, settings.options, *task, settings.machine) == 0);
    const RunFolder run = open_run(std::filesystem::path(settings.config.output_dir) / settings.config.name);
    CHECK(std::filesystem::exists(run.config));
    // What was saved is a whole model: it is evaluated alone.
    TaskSettings saved(read_text(run.config));
    saved.config.init = run.model.string();
    std::string samples;
    const Metrics metrics = saved.task(Use::evaluation)->evaluate(saved.machine, samples);
    for (const auto& [metric, value] : metrics) CHECK(std::isfinite(value));
    CHECK_FALSE(samples.empty());
    // The saved configuration is complete and can be read again.
    TaskSettings resolved(read_text(run.config));
    CHECK(resolved.config.model.vocab_size == settings.config.model.vocab_size);
    CHECK(resolved.config.training.max_steps == 2);
  }
  CHECK(count >= 4);
}

}  // namespace engine::test
