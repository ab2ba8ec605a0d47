// Masked language models on text in which nothing can be masked: unknown words and special tokens.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "core/files.h"
#include "tests/task_settings.h"
#include "training/trainer.h"

namespace engine::test::test_mlm_special {

namespace {

const std::string tiny = R"(
task = "mlm"
[data]
block_size = 8
[model]
architecture = "bert"
hidden_size = 8
num_layers = 1
num_heads = 2
max_positions = 8
[mlm]
lines = true
[training]
batch_size = 1
max_steps = 6
eval_every = 2
log_every = 1
)";

const std::string nothing = "[SEP] [SEP]\nzzz\n", words = "the\n";

// Trains and evaluates on the same text.
struct SpecialSettings : TaskSettings {
  explicit SpecialSettings(const std::string& text) : TaskSettings(tiny) {
    std::filesystem::create_directory(file("tokenizer"));
    write_file(file("tokenizer") + "/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n");
    config.data.tokenizer = file("tokenizer");
    config.data.train = {write("train.txt", text)};
    config.data.eval = {write("eval.txt", text)};
  }

  // Trains without a word, and gives the task as it is then; null where the training did not come to its end.
  std::unique_ptr<Task> trained() {
    config.model.vocab_size = 0;
    auto trained_task = task();
    std::FILE* const nowhere = std::fopen("/dev/null", "w");
    const int code = train_task(config, options, *trained_task, machine, nowhere).exit_code();
    std::fclose(nowhere);
    return code == 0 ? std::move(trained_task) : nullptr;
  }
};

}  // namespace

TEST_CASE("mlm special tokens: sequences of nothing else are passed over and counted") {
  SpecialSettings settings(nothing + words);
  const auto task = settings.trained();
  REQUIRE(task);
  const std::string report = task->start_report();
  INFO(report);
  for (const char* data : {"training", "evaluation"})
    CHECK(report.find(std::string(data) + " data: 3 sequences, 2 of them hold special tokens alone") !=
          std::string::npos);
  std::string samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  CHECK(metric(metrics, "sequences_without_labels") == 2);
  CHECK(std::isfinite(metric(metrics, "loss")));
  // Six steps of one sequence each are two epochs.
  const std::string log = read_text(settings.folder.path() / "run" / "metrics.jsonl");
  CHECK(log.find("\"steps_without_labels\":4") != std::string::npos);
}

TEST_CASE("mlm special tokens: a run over nothing else ends, and goes on") {
  SpecialSettings settings(nothing);
  settings.config.training.max_steps = 4;
  REQUIRE(settings.trained());
  settings.config.training.max_steps = 6;
  const auto task = settings.trained();
  REQUIRE(task);
  std::string samples;
  CHECK(task->evaluate(settings.machine, samples).empty());
  CHECK(std::filesystem::exists(settings.folder.path() / "run" / "last" / "model.safetensors"));
}

}  // namespace engine::test::test_mlm_special
