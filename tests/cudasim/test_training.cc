// Whole trainings on the simulated device follow those on the CPU.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/config_files.h"

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
constexpr const char* without_saving = R"(learning_rate = 0.001
max_grad_norm = 1
eval_every = 0
save_every = 0
)";

// What a loss (or norm) may differ by, relative to it. f32: sums of some hundred terms in another order differ by a few
// 2^-24 of their size; each of the 20 updates adds as much. bf16: such a difference now and then rounds an element the
// other way, by 2^-8 of it; a loss is the mean over tens of tokens, each a sum over 32 such elements, so some
// hundredths of that remain.
double tolerance_of(DType compute) { return compute == DType::bf16 ? 0x1p-8 / 8 : 20 * 8 * 0x1p-24; }

// The loss of every step of a training, and in f32 the gradient's norm: in bf16 that is no mean, so the tolerance says
// nothing of it.
std::vector<double> course_of(TaskSettings& settings, DType compute) {
  settings.machine.compute = compute;
  settings.sections.scratchpad.eval_quantity = 1;
  settings.config.training.log_every = 1;
  settings.config.generation.max_new_tokens = 1;
  const auto task = settings.task();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet(std::fopen("/dev/null", "w"), std::fclose);
  CHECK(train_task(settings.config, settings.options, *task, settings.machine, quiet.get()) == 0);
  std::vector<double> result;
  std::istringstream lines(read_text(settings.folder.path() / settings.config.name / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event.at("split") != "train") continue;
    result.push_back(event.at("loss").get<double>());
    if (compute == DType::f32) result.push_back(event.at("grad_norm").get<double>());
  }
  return result;
}

std::vector<double> course_of(const std::string& text, const std::string& device, DType compute, int64_t steps) {
  TaskSettings settings(text + without_saving, device);
  settings.config.training.max_steps = steps;
  return course_of(settings, compute);
}

// The largest difference, relative to the loss or norm.
double check_course(const std::vector<double>& actual, const std::vector<double>& expected, DType compute) {
  REQUIRE(actual.size() == expected.size());
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    const double difference = std::abs(actual[i] - expected[i]) / expected[i];
    CHECK(difference <= tolerance_of(compute));
    largest = std::max(largest, difference);
  }
  return largest;
}

// A configuration with a small model and short sequences.
std::vector<double> course_of_config(const std::filesystem::path& path, const std::string& device, DType compute) {
  TaskSettings settings(read_text(path), device);
  Config& config = settings.config;
  adapt(path.filename().string(), settings);
  config.training.batch_size = 2;
  if (config.init.empty()) {
    config.model.hidden_size = 32;
    config.model.num_layers = 1;
    config.model.num_heads = 2;
  }
  if (config.task != "scratchpad") config.data.block_size = 16;
  return course_of(settings, compute);
}

}  // namespace

TEST_CASE("simulated device: the losses of 20 steps are those of the CPU, the step captured as a graph") {
  for (const char* const text : {gpt, arithmetic})
    for (const DType compute : {DType::f32, DType::bf16}) {
      CAPTURE(text);
      CAPTURE(name_of(compute));
      const std::vector<double> expected = course_of(text, "cpu", compute, 20);
      REQUIRE(expected.size() == (compute == DType::f32 ? 40 : 20));
      MESSAGE("largest difference ", check_course(course_of(text, "sim", compute, 20), expected, compute));
    }
}

TEST_CASE("simulated device: every configuration, made small, has the losses and norms of the CPU") {
  CHECK(each_config([](const std::filesystem::path& path) {
    CAPTURE(path.string());
    const std::vector<double> expected = course_of_config(path, "cpu", DType::f32);
    CHECK(expected.size() == 4);
    check_course(course_of_config(path, "sim", DType::f32), expected, DType::f32);
  }) >= 9);
}

TEST_CASE("device check: every operation of a training agrees on both devices, and the losses are the first one's") {
  for (const auto& [text, compute] : {std::pair{gpt, DType::bf16}, {arithmetic, DType::f32}}) {
    CAPTURE(text);
    CHECK(course_of(text, "check", compute, 3) == course_of(text, "cpu", compute, 3));
  }
}

}  // namespace engine::test
