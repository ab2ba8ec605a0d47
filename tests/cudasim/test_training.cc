// Whole trainings on the simulated device follow those on the CPU.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/task_settings.h"

namespace engine::test {

namespace {

constexpr const char* gpt = R"(task = "gpt"
[data]
train = ["tests/data/walk.txt"]
tokenizer = "characters"
block_size = 24
[model]
hidden_size = 32
num_layers = 2
num_heads = 2
max_positions = 32
dropout = 0.1
[training]
batch_size = 4
micro_batch_size = 2
)";
constexpr const char* arithmetic = R"(task = "scratchpad"
[model]
hidden_size = 32
num_layers = 1
num_heads = 2
[training]
batch_size = 4
)";
constexpr const char* twenty_steps = R"(max_steps = 20
learning_rate = 0.001
max_grad_norm = 1
log_every = 1
eval_every = 0
save_every = 0
[generation]
max_new_tokens = 1
)";

// What a loss may differ by, relative to it. f32: sums of some hundred terms in another order differ by a few 2^-24 of
// their size; each of the 20 updates adds as much. bf16: such a difference now and then rounds an element the other
// way, by 2^-8 of it; a loss is the mean over tens of tokens, each a sum over 32 such elements, so some hundredths
// of that remain.
double tolerance_of(DType compute) { return compute == DType::bf16 ? 0x1p-8 / 8 : 20 * 8 * 0x1p-24; }

std::vector<double> losses(const std::string& text, const std::string& device, DType compute) {
  TaskSettings settings(text + twenty_steps, device);
  settings.machine.compute = compute;
  settings.sections.scratchpad.eval_quantity = 1;
  const auto task = settings.task();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet(std::fopen("/dev/null", "w"), std::fclose);
  CHECK(train_task(settings.config, settings.options, *task, settings.machine, quiet.get()) == 0);
  std::vector<double> result;
  std::istringstream lines(read_text(settings.folder.path() / settings.config.name / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event.at("split") == "train") result.push_back(event.at("loss").get<double>());
  }
  return result;
}

}  // namespace

TEST_CASE("simulated device: the losses of 20 steps are those of the CPU, the step captured as a graph") {
  for (const char* const text : {gpt, arithmetic})
    for (const DType compute : {DType::f32, DType::bf16}) {
      CAPTURE(text);
      CAPTURE(name_of(compute));
      const std::vector<double> expected = losses(text, "cpu", compute), actual = losses(text, "sim", compute);
      REQUIRE(expected.size() == 20);
      REQUIRE(actual.size() == 20);
      double largest = 0;
      for (size_t i = 0; i < 20; ++i) {
        CAPTURE(i);
        const double difference = std::abs(actual[i] - expected[i]) / expected[i];
        CHECK(difference <= tolerance_of(compute));
        largest = std::max(largest, difference);
      }
      MESSAGE("largest difference ", largest);
    }
}

}  // namespace engine::test
